"""The pointer as it is trained: which words of the evidence answer a question, judged from the model's hidden states.

A decoder reads evidence from left to right, so what it knows of a word knows nothing of the words behind it. The
pointer is a small encoder over the hidden states of a question with its evidence, each token seeing all others, with a
score for each token to begin and to end the answer, and one for no answer (Devlin et al., 2019, arXiv 1810.04805, as
for SQuAD 2.0). Its layers are BERT's, so that they may begin as another encoder's (see `borrow`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.pointer import NEVER, PLACES, REACH
from model.training import reader
from model.training.packing import Pack, attend, make_pack
from model.training.reader import ReaderLayer

POINTER: dict[str, Any] = {
    "look_at": [0, 20], "num_layers": 4, "hidden_size": 384, "intermediate_size": 1024, "head_dim": 32,
}
"""look_at: the layers whose outputs the pointer sees beside the last one's; 0 is the embedding."""


class Pointer(nn.Module):
    """Scores of a question's tokens; see `forward`."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        shape, self.eps = config["pointer"], config["rms_norm_eps"]
        hidden, heads = shape["hidden_size"], shape["hidden_size"] // shape["head_dim"]
        self.enter = nn.Linear((len(shape["look_at"]) + 1) * config["hidden_size"], hidden, bias=False)
        self.places = nn.Parameter(torch.zeros(PLACES, hidden))
        self.near = nn.Parameter(torch.zeros(2 * REACH, hidden))
        """What the tokens two before, one before, one behind and two behind add to one."""
        self.layers: Any = nn.ModuleList(
            ReaderLayer(hidden, shape["intermediate_size"], heads) for _ in range(shape["num_layers"]))
        self.score = nn.Linear(hidden, 2, bias=False)
        nn.init.normal_(self.score.weight, std=0.02)

    def forward(self, looked_at: Tensor, last: Tensor, pack: Pack) -> Tensor:
        """looked_at [T, n C], last [T, C]: of a packed row, the residual stream behind the n layers that are looked at,
        side by side, and the last hidden state, normed -> float32 scores [M, 2] of the tokens of `pack.asked`'s
        questions, one question behind another (see `blocks`), to begin and to end the answer; a question's last token's
        are those of no answer, and what is no evidence is never one."""
        rows, own = blocks(pack)
        parts = looked_at.unflatten(-1, (-1, last.shape[-1]))
        seen = torch.cat((F.rms_norm(parts, parts.shape[-1:], None, self.eps).flatten(1), last), -1)
        x = self.enter(seen[rows]) + self.places[own.position.clamp_max(PLACES - 1)]
        length = _each(own.borders.diff(), own)
        added = x
        for by, weight in zip((-2, -1, 1, 2), self.near, strict=True):
            there = own.position + by
            added = added + torch.where(((there >= 0) & (there < length))[:, None], x.roll(-by, 0), 0) * weight
        x = added
        for layer in self.layers:
            q, k, v = layer.project(x)
            x = layer.finish(x, attend(q, k, v, own, q.shape[-1] ** -0.5, causal=False))
        scores: Tensor = self.score(x).float()
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
