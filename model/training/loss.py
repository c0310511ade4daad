"""The losses at the head, a chunk of rows at a time, so that whole-vocabulary logits never fill the memory.

Gradients are made in the forward pass, while a chunk's logits are at hand.
"""

from __future__ import annotations

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


_ROWS: dict[str, Any] = {"kl": kl_rows, "ce": ce_rows}


def compile_rows() -> None:
    """Fuse the two row functions (a GPU wants that)."""
    _ROWS.update({"kl": torch.compile(kl_rows), "ce": torch.compile(ce_rows)})


class _Head(torch.autograd.Function):
    """Mean loss over rows; the gradients for hidden [R, C] and embed [V, C] are ready after the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, embed: Tensor, other: Tensor, other_embed: Tensor | None,
                count: Tensor) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        grad_hidden, grad_embed = torch.empty_like(hidden), torch.zeros_like(embed, dtype=torch.float32)
        for start in range(0, len(hidden), CHUNK):
            part = slice(start, start + CHUNK)
            logits = F.linear(hidden[part], embed)
            if other_embed is not None:
                loss, grad = _ROWS["kl"](logits, F.linear(other[part], other_embed))
            else:
                loss, grad = _ROWS["ce"](logits, other[part])
            total += loss
            grad_hidden[part] = grad @ embed
            grad_embed += (grad.T @ hidden[part]).float()
        ctx.save_for_backward((grad_hidden / count).to(hidden.dtype), (grad_embed / count).to(embed.dtype))
        return total / count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        hidden, embed = ctx.saved_tensors
        return hidden * grads[0], embed * grads[0], None, None, None


def kl_loss(hidden: Tensor, embed: Tensor, teacher_hidden: Tensor, teacher_embed: Tensor) -> Tensor:
    """Mean KL(teacher | student) over all rows [R, C]."""
    count = torch.tensor(float(len(hidden)), device=hidden.device)
    return _Head.apply(hidden, embed, teacher_hidden, teacher_embed, count)


def ce_loss(hidden: Tensor, embed: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over the rows whose target is not negative; hidden [R, C], target [R]."""
    rows = (target >= 0).nonzero()[:, 0]
    if hidden.is_cuda and len(rows) < len(target):
        # Gather to a multiple of the chunk: fixed shapes keep one compiled function.
        extra = (-len(rows)) % CHUNK
        target = torch.cat((target[rows], target.new_full((extra,), -1)))
        hidden = hidden[torch.cat((rows, rows.new_zeros(extra)))]
    count = (target >= 0).sum().clamp_min(1).float()
    return _Head.apply(hidden, embed, target, None, count)
