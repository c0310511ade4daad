"""The pointer as it is trained: which words of the evidence answer a question, judged from the model's hidden states.

A decoder reads evidence from left to right, so what it knows of a word knows nothing of the words behind it. The
pointer is a small encoder over the hidden states of a question with its evidence (two layers, each token seeing all
others), with a score for each token to begin and to end the answer, and one for no answer (Devlin et al., 2019, arXiv
1810.04805, as for SQuAD 2.0).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.pointer import NEVER, REACH
from model.training import reader
from model.training.packing import Pack, attend, make_pack

POINTER: dict[str, int] = {
    "look_at": 20, "num_layers": 2, "hidden_size": 384, "intermediate_size": 1536, "head_dim": 64,
}
"""look_at: the layer whose output the pointer sees beside the last one's."""


class PointerLayer(nn.Module):
    """One encoder layer over packed rows [M, C]."""

    def __init__(self, shape: dict[str, int]) -> None:
        super().__init__()
        hidden, inner, self.head = shape["hidden_size"], shape["intermediate_size"], shape["head_dim"]
        self.qkv, self.out = _matrix(3 * hidden, hidden), _matrix(hidden, hidden)
        self.gate, self.up, self.down = _matrix(inner, hidden), _matrix(inner, hidden), _matrix(hidden, inner)
        self.mixed_norm, self.norm = nn.Parameter(torch.ones(hidden)), nn.Parameter(torch.ones(hidden))

    def forward(self, x: Tensor, pack: Pack, eps: float) -> Tensor:
        """Norm, attention, residual; norm, feed-forward, residual."""
        y = F.rms_norm(x, x.shape[-1:], self.mixed_norm, eps)
        q, k, v = F.linear(y, self.qkv).unflatten(-1, (3, -1, self.head)).unbind(1)
        mixed = attend(q.contiguous(), k.contiguous(), v.contiguous(), pack, self.head**-0.5, causal=False)
        x = x + F.linear(mixed.flatten(1), self.out)
        y = F.rms_norm(x, x.shape[-1:], self.norm, eps)
        return x + F.linear(F.silu(F.linear(y, self.gate)) * F.linear(y, self.up), self.down)


class Pointer(nn.Module):
    """Scores of a question's tokens; see `forward`."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        shape, self.eps = config["pointer"], config["rms_norm_eps"]
        hidden = shape["hidden_size"]
        self.enter = _matrix(hidden, 2 * config["hidden_size"])
        self.near = nn.Parameter(torch.zeros(2 * REACH, hidden))
        """What the tokens two before, one before, one behind and two behind add to one: order, which attention alone
        does not know."""
        self.layers: Any = nn.ModuleList(PointerLayer(shape) for _ in range(shape["num_layers"]))
        self.norm = nn.Parameter(torch.ones(hidden))
        self.score = nn.Parameter(0.02 * torch.randn(2, hidden))

    def forward(self, looked_at: Tensor, last: Tensor, pack: Pack) -> Tensor:
        """looked_at, last [T, C]: of a packed row, the residual stream behind the layer that is looked at, and the last
        hidden state, normed -> float32 scores [M, 2] of the tokens of `pack.asked`'s questions, one question behind
        another (see `blocks`), to begin and to end the answer; a question's last token's are those of no answer, and
        what is no evidence is never one."""
        rows, own = blocks(pack)
        seen = torch.cat((F.rms_norm(looked_at, looked_at.shape[-1:], None, self.eps), last), -1)
        x = F.linear(seen[rows], self.enter)
        length = _each(own.borders.diff(), own)
        added = x
        for by, weight in zip((-2, -1, 1, 2), self.near, strict=True):
            there = own.position + by
            added = added + torch.where(((there >= 0) & (there < length))[:, None], x.roll(-by, 0), 0) * weight
        x = added
        for layer in self.layers:
            x = layer(x, own, self.eps)
        scores = F.linear(F.rms_norm(x, x.shape[-1:], self.norm, self.eps), self.score).float()
        at = _each(pack.asked, own)
        inside = (rows >= at[:, 1]) & (rows < at[:, 2]) | (rows == at[:, 5])
        return scores.masked_fill(~inside[:, None], NEVER)


def blocks(pack: Pack) -> tuple[Tensor, Pack]:
    """Places [M] in a packed row of the tokens from each question's beginning to its reply, and the pack of those."""
    rows = [torch.arange(begin, at + 1) for begin, *_, at in pack.asked_cpu.tolist()]
    device = pack.asked.device
    return torch.cat(rows).to(device), make_pack([len(row) for row in rows], device)


def _each(values: Tensor, own: Pack) -> Tensor:
    """One value of each question [Q, …] for each of its tokens [M, …]. The size is given, so nothing waits for it."""
    return torch.repeat_interleave(values, own.borders.diff(), dim=0, output_size=int(own.borders_cpu[-1]))


def pointer_loss(scores: Tensor, pack: Pack) -> Tensor:
    """Mean cross-entropy of the true first and last tokens over each question's own. scores [M, 2]: of `Pointer`."""
    own = blocks(pack)[1]
    at, shift = pack.asked[:, 5], own.borders[:-1] - pack.asked[:, 0]
    first, last = (torch.where(true < 0, at, true) + shift for true in pack.asked[:, 3:5].unbind(-1))
    return reader.loss(scores, own, first, last)


def _matrix(rows: int, columns: int) -> nn.Parameter:
    """Random weights that keep the size of what goes through."""
    return nn.Parameter(torch.randn(rows, columns) * columns**-0.5)
