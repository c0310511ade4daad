"""The losses at the head, a chunk of rows at a time, so that whole-vocabulary logits never fill the memory.

Gradients are made in the forward pass, while a chunk's logits are at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 4096


def kl_rows(mine: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [R, V] of student and teacher -> summed KL(teacher | student) and its gradient [R, V] (bf16)."""
    log_mine, log_theirs = mine.float().log_softmax(-1), theirs.float().log_softmax(-1)
    p = log_theirs.exp()
    return (p * (log_theirs - log_mine)).sum(), (log_mine.exp() - p).to(mine.dtype)


def ce_rows(mine: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [R, V], targets [R] (negative: ignored) -> summed cross-entropy and its gradient [R, V]."""
    log_mine = mine.float().log_softmax(-1)
    keep = (target >= 0).float()
    hit = torch.arange(mine.shape[1], device=mine.device)[None, :] == target[:, None]
    loss = -torch.where(hit, log_mine, 0).sum()
    return loss, ((log_mine.exp() - hit.float()) * keep[:, None]).to(mine.dtype)


def task_rows(mine: Tensor, theirs: Tensor, target: Tensor, kl: Tensor, ce: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [R, V] of student and teacher, targets [R] (negative: none), weights [R] of a row's KL and cross-entropy
    -> each row's KL and cross-entropy [R], and the gradient [R, V] of their weighted sum."""
    log_mine, log_theirs = mine.float().log_softmax(-1), theirs.float().log_softmax(-1)
    p = log_theirs.exp()
    hit = (torch.arange(mine.shape[1], device=mine.device)[None, :] == target[:, None]).float()
    gradient = log_mine.exp() * (kl + ce)[:, None] - p * kl[:, None] - hit * ce[:, None]
    return (p * (log_theirs - log_mine)).sum(-1), -(log_mine * hit).sum(-1), gradient.to(mine.dtype)


_ROWS: dict[str, Any] = {"kl": kl_rows, "ce": ce_rows, "task": task_rows}


def compile_rows() -> None:
    """Fuse the row functions (a GPU wants that)."""
    _ROWS.update({name: torch.compile(rows) for name, rows in _ROWS.items()})


class _Head(torch.autograd.Function):
    """A loss over rows; the gradients for hidden [R, C] and embed [V, C] are ready after the forward pass.

    part: of a chunk's logits and its place among the rows, its loss and its logits' gradient."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, embed: Tensor,
                part: Callable[[Tensor, slice], tuple[Tensor, Tensor]]) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        grad_hidden, grad_embed = torch.empty_like(hidden), torch.zeros_like(embed, dtype=torch.float32)
        for start in range(0, len(hidden), CHUNK):
            at = slice(start, start + CHUNK)
            loss, grad = part(F.linear(hidden[at], embed), at)
            total += loss
            grad_hidden[at] = grad @ embed
            grad_embed += (grad.T @ hidden[at]).float()
        ctx.save_for_backward(grad_hidden, grad_embed.to(embed.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, embed = ctx.saved_tensors
        return hidden * grads[0], embed * grads[0], None


def kl_loss(hidden: Tensor, embed: Tensor, teacher_hidden: Tensor, teacher_embed: Tensor) -> Tensor:
    """Mean KL(teacher | student) over all rows [R, C]."""

    def part(logits: Tensor, at: slice) -> tuple[Tensor, Tensor]:
        loss, grad = _ROWS["kl"](logits, F.linear(teacher_hidden[at], teacher_embed))
        return loss, grad

    total: Tensor = _Head.apply(hidden, embed, part)
    return total / len(hidden)


def ce_loss(hidden: Tensor, embed: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over the rows whose target is not negative; hidden [R, C], target [R]."""
    rows = (target >= 0).nonzero()[:, 0]
    if hidden.is_cuda and len(rows) < len(target):
        # Gather to a multiple of the chunk: fixed shapes keep one compiled function.
        extra = (-len(rows)) % CHUNK
        target = torch.cat((target[rows], target.new_full((extra,), -1)))
        hidden = hidden[torch.cat((rows, rows.new_zeros(extra)))]

    def part(logits: Tensor, at: slice) -> tuple[Tensor, Tensor]:
        loss, grad = _ROWS["ce"](logits, target[at])
        return loss, grad

    total: Tensor = _Head.apply(hidden, embed, part)
    return total / (target >= 0).sum().clamp_min(1)


def task_loss(hidden: Tensor, embed: Tensor, target: Tensor, teacher_hidden: Tensor, teacher_embed: Tensor,
              known: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """A reply is learned from its words and from the teacher's probabilities, half and half; what stands before it
    from the teacher's alone, for half as much (Hinton et al., 2015, arXiv 1503.02531).

    hidden [R, C], target [R] (negative: not a reply's), known [R]: where the teacher can be believed. Returns the loss,
    and the means it is made of: cross-entropy and KL of replies, KL of what stands before them."""
    reply = target >= 0
    groups = {"reply": reply & known, "before": ~reply & known}
    share = {name: rows.float() / rows.sum().clamp_min(1) for name, rows in groups.items()}
    words = reply.float() / reply.sum().clamp_min(1)
    kl, ce = 0.5 * share["reply"] + 0.5 * share["before"], words * torch.where(known, 0.5, 1.0)
    means = {name: torch.zeros((), device=hidden.device) for name in ("ce", *groups)}

    def part(logits: Tensor, at: slice) -> tuple[Tensor, Tensor]:
        theirs = F.linear(teacher_hidden[at], teacher_embed)
        rows_kl, rows_ce, grad = _ROWS["task"](logits, theirs, target[at], kl[at], ce[at])
        means["ce"] += rows_ce @ words[at]
        for name in groups:
            means[name] += rows_kl @ share[name][at]
        return rows_kl @ kl[at] + rows_ce @ ce[at], grad

    total: Tensor = _Head.apply(hidden, embed, part)
    return total, means
