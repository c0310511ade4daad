"""Fewer attention heads: those are kept from which the others can be told best, and the output map makes up for them.

What attention costs far into a document goes with its heads, and `mini`'s were six that often said the same. Of each
layer, over a little text, the sums of products of what the heads say are taken; for every choice of heads least squares
give the output map that comes nearest to the layer's output, and the best choice stays. Training goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from model.engine import Engine
from model.mla import MLA
from model.state import MLAState
from model.training.student import MLA as StudentMLA
from model.training.student import Student

RIDGE = 1e-4
"""Weight on the map's size, in shares of the mean square of what it maps."""
LONGEST = 12_000
"""Tokens of a sample that are read."""


@torch.no_grad()
def look(engine: Engine, samples: Iterable[Sequence[int]]) -> list[Tensor]:
    """What the H heads of each MLA layer say, of V numbers each, as sums of products over all tokens [H V, H V].
    samples: token ids."""
    layers = [layer for layer in engine.model.modules() if isinstance(layer, MLA)]
    sums = {layer: torch.zeros(()) for layer in layers}

    def said(layer: Any, given: tuple[Tensor, MLAState, int]) -> None:
        x, state = given[:2]
        q, rows, up = layer.project(x)
        heads = layer.attend_new(q, rows, up, layer.attend_past(q, up, list(state.pages())))
        flat = heads.float().transpose(0, 1).flatten(1)
        sums[layer] = sums[layer] + flat.T @ flat

    hooks = [layer.register_forward_pre_hook(said) for layer in layers]
    try:
        for ids in samples:
            engine.read(engine.empty(), ids[:LONGEST])
    finally:
        for hook in hooks:
            hook.remove()
    return list(sums.values())


@torch.no_grad()
def prune(student: Student, products: Sequence[Tensor], heads: int) -> Student:
    """A student with so many heads in each MLA layer. products [H V, H V] each: what `look` found, layer by layer."""
    before = student.config["num_attention_heads"]
    smaller = Student(student.config | {"num_attention_heads": heads, "num_key_value_heads": heads})
    state = student.state_dict()
    numbers = [n for n, layer in enumerate(student.layers) if isinstance(layer.attention, StudentMLA)]
    for n, product in zip(numbers, products, strict=True):
        name = f"layers.{n}.attention."
        kept, state[f"{name}o_proj"] = choose(product, state[f"{name}o_proj"], before, heads)
        for part in ("q_proj", "kv_b_proj"):
            state[name + part] = state[name + part].unflatten(0, (before, -1))[list(kept)].flatten(0, 1)
    smaller.load_state_dict(state)
    return smaller


def choose(product: Tensor, output: Tensor, heads: int, keep: int) -> tuple[tuple[int, ...], Tensor]:
    """Which `keep` of the heads to keep, and their output map [C, keep V]. product [H V, H V]: see `look`; output
    [C, H V]: the map of all heads."""
    size = len(product) // heads
    best: tuple[float, tuple[int, ...], Tensor] | None = None
    for kept in combinations(range(heads), keep):
        at = torch.cat([torch.arange(head * size, (head + 1) * size) for head in kept])
        square = product[at][:, at]
        square = square + RIDGE * square.diagonal().mean() * torch.eye(len(at))
        wanted = product[at] @ output.T
        found = torch.linalg.solve(square, wanted)
        explained = float((wanted * found).sum())
        if best is None or explained > best[0]:
            best = explained, kept, found.T.contiguous()
    assert best is not None, "there are not so many heads"
    return best[1:]
