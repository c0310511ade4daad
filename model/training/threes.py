"""The reader to ship: a mentor whose layers' matrices learn to have three values, and word pieces fewer dimensions.

It begins as a mentor that has learned, and learns to be one again: from what mentors say, and from what lies behind
each layer of the one it was (TernaryBERT: Zhang et al., 2020, arXiv 2009.12812; see `model.ternary`). The gradient
passes straight through both roundings, of matrices and of activations.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model import ternary
from model.training.mentor import Mentor
from model.training.reader import ReaderLayer


def rounded(x: Tensor) -> Tensor:
    """Activations [T, C] as a `TernaryLinear` has them."""
    whole, scale = ternary.in_bytes(x.detach())
    return x + ((whole * scale).to(x.dtype) - x.detach())


class RoundedLayer(ReaderLayer):
    """A layer whose matrices take rounded activations. It drops nothing: what is rounded cannot learn by heart."""

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """See `ReaderLayer`."""
        return super().project(rounded(x))

    def finish(self, x: Tensor, heads: Tensor) -> Tensor:
        """See `ReaderLayer`."""
        x = self.mixed_norm(x + self.out(rounded(heads.flatten(1))))
        return self.norm(x + self.down(rounded(F.gelu(self.up(rounded(x))))))


class Threes(Mentor):
    """MPNet with narrow word pieces and rounded activations; its matrices are rounded as it learns."""

    layer = RoundedLayer
    ternary = True


def principal(words: Tensor, pieces: Tensor, width: int) -> dict[str, Tensor]:
    """What the first `width` principal directions hold of word pieces [V, C], weighed by how often each is read [V]."""
    directions = torch.linalg.eigh(words.T @ (words * (pieces[:, None] + 1))).eigenvectors[:, -width:]
    return {"embed": words @ directions, "widen.weight": directions.contiguous()}


@torch.no_grad()
def begin(mentor: Mentor, read: Tensor, width: int) -> Threes:
    """What a mentor becomes, before it has learned anything. read: how often each of BERT's pieces is read [V]."""
    layers, vocab, hidden, inner, _ = mentor.sizes
    counts = torch.zeros(vocab, device=mentor.embed.device)
    counts.index_add_(0, mentor.numbers(torch.arange(len(read))).to(counts.device), read.to(counts))
    made = Threes(layers, vocab, hidden, inner, width).to(mentor.embed.device)
    made.load_state_dict(mentor.state_dict() | principal(mentor.embed.float(), counts, width))
    return made.to(mentor.embed.dtype)
