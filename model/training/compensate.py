"""Rounding that makes up for itself: the columns of a matrix are rounded one after the other, and what each lost, the
columns after it take over as far as the inputs let them (GPTQ: Frantar et al. 2022, arXiv 2210.17323).

How far that is, the mean products of the inputs' numbers say, S = E[h h^T]: the error that counts is the outputs',
(w - r) S (w - r)^T for a row w stored as r. `mini`'s head keeps its words this way with 4 bits where the nearest levels
need 6. The head is the embedding as well, of which every number counts the same: a little of the identity added to S.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from kernels.quant import Grid
from model.engine import Engine
from model.quantize import pack

RIDGE = 0.1
"""Weight on errors for their own sake, in shares of the mean of S's diagonal."""
SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""Shares of a group's range that its levels may span; numbers beyond it become the first or the last level."""
PIECE = 1024
"""Tokens whose logits are held at once."""
ROWS = 4096
"""Rows rounded together: what is written for every column stays in a processor's cache."""


@torch.no_grad()
def look(engine: Engine, samples: Iterable[Tensor]) -> Tensor:
    """S [C, C] of what the head reads, over all tokens of samples (int64 [T] each). A token counts by how open its next
    word is: where one word is certain, no error of the logits changes anything."""
    size = engine.config.hidden
    total, count = torch.zeros(size, size), torch.zeros(())
    for ids in samples:
        state = engine.empty()
        for piece in ids.split(PIECE):
            hidden = engine.model(piece, state)
            openness = 1 - engine.model.logits(hidden).softmax(-1).square().sum(-1)
            wide = hidden.float()
            total += (wide * openness[:, None]).T @ wide
            count += openness.sum()
    return total / count


@torch.no_grad()
def compensate(weight: Tensor, products: Tensor, bits: int, group: int = 64) -> Grid:
    """A matrix [O, C] in groups of 2^bits levels, `model.quantize`'s grid, for inputs with mean products [C, C]. The
    columns that count most come first, as whole groups and within each: most columns are left to make up for them."""
    square = products / products.diagonal().mean() + RIDGE * torch.eye(len(products))
    grouped = square.diagonal().unflatten(0, (-1, group))
    first = grouped.sum(1).argsort(descending=True, stable=True)
    order = (first[:, None] * group + grouped[first].argsort(dim=1, descending=True, stable=True)).flatten()
    square = square[order][:, order]
    spread = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(square)), upper=True)
    done = [_rows(part.float().T[order], square.diagonal(), spread, 2**bits - 1, group) for part in weight.split(ROWS)]
    levels, scale, zero = (torch.cat(parts, 1) for parts in zip(*done, strict=True))
    return pack(levels[order.argsort()].T, scale[first.argsort()].T, zero[first.argsort()].T, bits)


def _rows(left: Tensor, counts: Tensor, spread: Tensor, top: int, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Levels [C, R] (whole numbers, float), scale and zero [C/group, R] (bf16) of rows, turned: left [C, R], which is
    changed. counts [C]: what an error in each column counts; spread [C, C]: what of a column's each later one takes."""
    levels, grids = torch.empty_like(left), []
    for start in range(0, len(left), group):
        end = start + group
        scale, zero = _grid(left[start:end], counts[start:end], top)
        grids.append((scale, zero))
        lost = torch.empty_like(left[start:end])
        for column in range(start, end):
            levels[column] = _levels(left[column], scale, zero, top)
            error = left[column] - (levels[column] * scale.float() + zero.float())
            lost[column - start] = error / spread[column, column]
            left[column + 1 : end] -= spread[column, column + 1 : end, None] * lost[column - start]
        left[end:] -= spread[start:end, end:].T @ lost
    scales, zeros = zip(*grids, strict=True)
    return levels, torch.stack(scales), torch.stack(zeros)


def _levels(value: Tensor, scale: Tensor, zero: Tensor, top: int) -> Tensor:
    return ((value - zero.float()) / scale.float()).round_().clamp_(0, top)


def _grid(values: Tensor, counts: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Scale and zero [R] (bf16) for groups [group, R]: of the ranges in SHRINK the one that errs least, every column's
    error counting as `counts` [group] says."""
    low, high = values.aminmax(dim=0)
    least = torch.full_like(low, torch.inf)
    best = low.bfloat16(), low.bfloat16()
    for share in SHRINK:
        zero = (low * share).bfloat16()
        scale = ((high * share - zero.float()) / top).clamp_min(1e-12).bfloat16()
        back = _levels(values, scale, zero, top) * scale.float() + zero.float()
        error = counts @ (back - values).square()
        better = error < least
        least = torch.where(better, error, least)
        best = torch.where(better, scale, best[0]), torch.where(better, zero, best[1])
    return best
