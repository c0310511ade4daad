"""A smaller reader, made of a mentor that has learned: of each layer the heads and the feed-forward neurons that say
most, and word pieces in fewer dimensions; or of another encoder, with fewer dimensions of its word pieces alone. What
is left learns from the whole mentor, layer by layer (`tuning.reader`).

A head or a neuron counts by how much a lesson's loss would change without it, to first order: what it says times the
loss's gradient there, summed over the lesson's tokens (Molchanov et al., 2017, arXiv 1611.06440; Michel et al., 2019,
arXiv 1905.10650). Pruned so far and taught so, a large encoder is better than a small one of the same size (Xia et al.,
2022, arXiv 2204.00408).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model.training.mentor import BUCKETS, Mentor, Padded, own_ids
from model.training.packing import Pack
from model.training.reader import HEADS, Reader, loss, sequence

PIECES = 30_522
"""Word pieces of BERT's."""
Lesson = tuple[Tensor, Tensor, Pack, Tensor, Tensor]
"""What `tuning.Examples.step` gives."""


class Smaller(Reader):
    """A pruned mentor; it takes BERT's ids, and has a bias for each layer, since each has heads of its own."""

    def __init__(self, layers: int = 12, vocab: int = PIECES, hidden: int = 768, inner: int = 512, heads: int = 4,
                 width: int = 192) -> None:
        super().__init__(layers, vocab, hidden, inner, heads, width)
        self.bias = nn.Parameter(torch.empty(layers, BUCKETS, heads), requires_grad=False)  # as the mentor's

    def mixer(self, pack: Pack) -> Callable[[int, Tensor, Tensor, Tensor], Tensor]:
        """Attention inside each sequence, with the layer's bias."""
        padded = Padded(pack)
        return lambda n, q, k, v: padded.attend(q, k, v, padded.mask(self.bias[n]))


class Said(NamedTuple):
    """How much the loss would change without each head [layers, H] and each feed-forward neuron [layers, F]; and how
    often each word piece was read [V]."""

    heads: Tensor
    neurons: Tensor
    pieces: Tensor


def listen(mentor: Mentor, lessons: Iterable[Lesson]) -> Said:
    """What a mentor's heads and neurons say of lessons. The mentor must not be compiled."""
    seen: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, given: tuple[Tensor]) -> None:
        given[0].retain_grad()
        seen[module] = given[0]

    parts: list[Any] = [part for layer in mentor.layers for part in (layer.out, layer.down)]
    hooks = [part.register_forward_pre_hook(keep) for part in parts]
    sums: dict[nn.Module, Tensor] = {}
    pieces = torch.zeros(PIECES, device=mentor.embed.device)
    for ids, kinds, pack, first, last in lessons:
        loss(mentor(ids, kinds, pack), pack, first, last).backward()
        row = sequence(pack, len(ids))
        pieces.index_add_(0, ids, (first >= 0).float()[row])
        for part in parts:
            counts = (seen[part].detach() * seen[part].grad).float()  # type: ignore[operator]
            each = counts.new_zeros(len(first), counts.shape[1]).index_add_(0, row, counts)
            each = each.unflatten(1, (HEADS, -1)).sum(-1) if part in parts[::2] else each
            sums[part] = sums.get(part, 0.0) + each.abs().sum(0)
    for hook in hooks:
        hook.remove()
    mentor.zero_grad()
    return Said(torch.stack([sums[p] for p in parts[::2]]), torch.stack([sums[p] for p in parts[1::2]]), pieces)


@torch.no_grad()
def smaller(mentor: Mentor, said: Said, inner: int, heads: int, width: int) -> Smaller:
    """Those that say most, as many as are asked for in each layer, and word pieces as `principal` has them."""
    layers, _, hidden, _ = mentor.sizes
    made = Smaller(layers, PIECES, hidden, inner, heads, width).to(mentor.embed.device)
    state, before = made.state_dict(), {name: value.float() for name, value in mentor.state_dict().items()}
    words = before["embed"][own_ids(torch.arange(PIECES, device=mentor.embed.device))]
    state |= principal(words, said.pieces, width)
    kept_whole = ("places", "kinds", "norm.weight", "norm.bias", "score.weight", "score.bias")
    state |= {name: before[name] for name in kept_whole}
    for n in range(layers):
        kept, neurons = (one[n].topk(count).indices.sort().values
                         for one, count in ((said.heads, heads), (said.neurons, inner)))
        state["bias"][n] = before["bias"][:, kept]
        name = f"layers.{n}."
        own = {part: before[name + part] for part in (
            "qkv.weight", "qkv.bias", "out.weight", "out.bias", "up.weight", "up.bias", "down.weight", "down.bias",
            "mixed_norm.weight", "mixed_norm.bias", "norm.weight", "norm.bias")}
        for part in ("weight", "bias"):
            own[f"qkv.{part}"] = own[f"qkv.{part}"].unflatten(0, (3, HEADS, -1))[:, kept].flatten(0, 2)
            own[f"up.{part}"] = own[f"up.{part}"][neurons]
        own["out.weight"] = own["out.weight"].unflatten(1, (HEADS, -1))[:, kept].flatten(1)
        own["down.weight"] = own["down.weight"][:, neurons]
        state |= {name + part: value for part, value in own.items()}
    made.load_state_dict(state)
    return made.to(mentor.embed.dtype)


def principal(words: Tensor, pieces: Tensor, width: int) -> dict[str, Tensor]:
    """What the first `width` principal directions hold of word pieces [V, C], weighed by how often each is read [V]."""
    directions = torch.linalg.eigh(words.T @ (words * (pieces[:, None] + 1))).eigenvectors[:, -width:]
    return {"embed": words @ directions, "widen.weight": directions.contiguous()}


@torch.no_grad()
def narrow(reader: Reader, pieces: Tensor, width: int) -> Reader:
    """A reader whose word pieces have `width` dimensions. pieces: how often each is read [V]."""
    layers, vocab, hidden, inner, heads, _ = reader.sizes
    made = Reader(layers, vocab, hidden, inner, heads, width).to(reader.embed.device)
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
    """A reader of either form that has learned, float32, from the state that was saved of it."""
    state = torch.load(file, weights_only=True, map_location="cpu")
    layers, (vocab, hidden) = sum(name.endswith("qkv.bias") for name in state), state["embed"].shape
    inner = len(state["layers.0.up.bias"])
    made: Reader
    wide = hidden if "widen.weight" in state else 0
    if "bias" in state:
        made = Smaller(layers, vocab, len(state["widen.weight"]), inner, state["bias"].shape[-1], hidden)
    else:
        made = Reader(layers, vocab, len(state["places"][0]), inner, width=wide)
    made.load_state_dict(state)
    return made.eval()
