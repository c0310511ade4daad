"""A reader with narrower word pieces, and how it learns from each layer of a mentor of another width (`tuning.reader`).

A small encoder's vocabulary is a third of it. Few of the directions of its word pieces carry most of what those that
are read hold; what is lost is learned again from the mentor. What lies behind a layer is compared through a map that is
learned with the reader and then thrown away (Jiao et al., 2020, arXiv 1909.10351).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from model.training.packing import Pack
from model.training.reader import Reader, sequence


def principal(words: Tensor, pieces: Tensor, width: int) -> dict[str, Tensor]:
    """What the first `width` principal directions hold of word pieces [V, C], weighed by how often each is read [V]."""
    directions = torch.linalg.eigh(words.T @ (words * (pieces[:, None] + 1))).eigenvectors[:, -width:]
    return {"embed": words @ directions, "widen.weight": directions.contiguous()}


@torch.no_grad()
def narrow(reader: Reader, pieces: Tensor, width: int) -> Reader:
    """A reader whose word pieces have `width` dimensions. pieces: how often each is read [V]."""
    layers, vocab, hidden, inner, _ = reader.sizes
    made = Reader(layers, vocab, hidden, inner, width).to(reader.embed.device)
    made.load_state_dict(reader.state_dict() | principal(reader.embed.float(), pieces.to(reader.embed.device), width))
    return made.to(reader.embed.dtype)


@torch.no_grad()
def lift(own: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """What best maps a reader's states behind each layer [T, C] to a mentor's [T, D]: least squares, [layers, C, D]."""
    found = []
    for a, b in zip(own, theirs, strict=True):
        gram = a.float().T @ a.float()
        ridge = 1e-3 * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
        found.append(torch.linalg.solve(gram + ridge, a.float().T @ b.float()))
    return torch.stack(found)


def unlike(own: Sequence[Tensor], theirs: Sequence[Tensor], pack: Pack, first: Tensor) -> Tensor:
    """How far states [T, C] behind each layer are from a mentor's: the mean square of the difference as a share of the
    mentor's own, over the sequences that count (see `reader.loss`), on the mean of all layers."""
    wanted = (first >= 0).float()[sequence(pack, len(own[0]))]
    shares = [((a - b).float().square().mean(-1) @ wanted) / (b.float().square().mean(-1) @ wanted)
              for a, b in zip(own, theirs, strict=True)]
    return torch.stack(shares).mean()


def trained(file: Path) -> Reader:
    """A reader that has learned, float32, from the state that was saved of it."""
    state = torch.load(file, weights_only=True, map_location="cpu")
    layers, (vocab, width) = sum(name.endswith("qkv.bias") for name in state), state["embed"].shape
    hidden, inner = len(state["norm.bias"]), len(state["layers.0.up.bias"])
    made = Reader(layers, vocab, hidden, inner, width if "widen.weight" in state else 0)
    made.load_state_dict(state)
    return made.eval()
