"""Matrix times tokens, with ways of their own for a few of them, where reading the matrix is what takes time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import backend
from kernels.quant import GROUP, Grid

if TYPE_CHECKING:
    from kernels.linear_numba import Stored

FEW_ON_GPU = 8
"""Up to this many tokens a matrix on a GPU takes as long as it takes to be read: the width of a tensor core's tile."""

FEW_PAIRS_ON_GPU = 64
"""Up to this many tokens two narrow matrices on a GPU are one launch: it takes as long as a launch takes."""

STORED = frozenset((torch.bfloat16, torch.float32))
"""Numbers that a token by itself has where a matrix is multiplied as it was stored (`linear_numba`)."""

EVEN = 8
"""Rows of a matrix come in this many to MKL's liking."""

MANY = 256
"""From this many tokens on it matters: below, preparing a product of a new size may take longer than is gained."""


class Weight(nn.Parameter):
    """A matrix [O, D], or one for each expert [E, O, D], that may also be held as it was stored."""

    _grids: tuple[tuple[int, Grid], ...] = ()
    _stored: "Stored | None" = None

    def keep(self, row: int, grid: Grid) -> None:
        """Hold the rows from `row` on (counted through all experts), whose values `grid` has, as they were stored."""
        self._grids = (*self._grids, (row, grid))

    @property
    def is_stored(self) -> bool:
        """Whether any of it is held as it was stored."""
        return bool(self._grids or self._stored)

    @property
    def stored(self) -> "Stored | None":
        """The first rows of the matrix, or all rows of all experts, for `linear_numba`; None where there are none that
        it multiplies. It brings Numba."""
        if self._grids:
            from kernels import linear_numba

            leading = self._leading()
            rows = sum(len(grid.q) for grid in leading)
            if leading and (self.dim() == 2 or rows == self.shape[:-1].numel()):
                self._stored = linear_numba.stored(leading, self.shape[:-2])
            self._grids = ()
        return self._stored

    def _leading(self) -> list[Grid]:
        """The grids that follow each other from the first row on, all of one form."""
        leading: list[Grid] = []
        start = 0
        for row, grid in sorted(self._grids, key=lambda each: each[0]):
            alike = not leading or (grid.bits, grid.group) == (leading[0].bits, leading[0].group)
            if row == start and alike and grid.group == GROUP:
                leading.append(grid)
                start += len(grid.q)
        return leading


def can_multiply_stored(dtype: torch.dtype) -> bool:
    """Whether a token of such numbers meets matrices as they are stored: what multiplies those is there."""
    return dtype in STORED and backend.has_numba()


def linear(x: Tensor, weight: Tensor, expert: int | None = None) -> Tensor:
    """x [T, D], weight [O, D] -> [T, O]; with `expert`, weight is [E, O, D] and its matrix of that number is meant."""
    matrix = weight if expert is None else weight[expert]
    if 0 < x.shape[0] <= FEW_ON_GPU and x.dtype != torch.float64 and backend.use_triton(x):
        from kernels import linear_triton

        return linear_triton.linear(x, matrix)
    if _is_uneven(x, matrix):
        return torch.ops.mkldnn._linear_pointwise(x, matrix, None, "none", [], "")
    return F.linear(x, matrix)


def _is_uneven(x: Tensor, matrix: Tensor) -> bool:
    """Whether oneDNN is to multiply many tokens instead of MKL, which takes nearly twice as long in float32 where a
    matrix's rows are no multiple of 8: 2,048 tokens by 1865 x 576 on two cores with AVX2 in 51 ms, by oneDNN in 31, by
    1872 x 576 in 35 (2026-11-27)."""
    fitting = x.dtype == torch.float32 and x.device.type == "cpu" and matrix.shape[0] % EVEN != 0
    return fitting and x.shape[0] >= MANY and torch.backends.mkldnn.is_available()


def pair(x: Tensor, y: Tensor, of_x: Tensor, of_y: Tensor) -> Sequence[Tensor]:
    """Both x of_x^T and y of_y^T: x and y [T, D], matrices [O, D] of one shape -> twice [T, O]."""
    if 0 < x.shape[0] <= FEW_PAIRS_ON_GPU and x.dtype != torch.float64 and backend.use_triton(x):
        from kernels import linear_pair_triton

        if x.shape[1] <= linear_pair_triton.MOST_WIDTH:
            return linear_pair_triton.pair(x, y, of_x, of_y).unbind()
    return linear(x, of_x), linear(y, of_y)
