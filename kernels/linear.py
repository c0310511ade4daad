"""Matrix times tokens, with ways of their own for a few of them, where reading the matrix is what takes time."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import backend
from kernels.quant import Grid

FEW_ON_GPU = 8
"""Up to this many tokens a matrix on a GPU takes as long as it takes to be read: the width of a tensor core's tile."""

FEW_PAIRS_ON_GPU = 64
"""Up to this many tokens two narrow matrices on a GPU are one launch: it takes as long as a launch takes."""

FEW = {torch.bfloat16: 4, torch.float32: 12}
"""Up to this many tokens the packed form is faster. In bfloat16, for 1856 x 576 on one Zen 4 core: 58 against 94 us
with one token, 103 against 113 with four, 201 against 149 with eight (2026-11-25). In float32, for 1152 x 576 on two
cores with AVX2: 99 against 355 us with one, 273 against 488 with eight, 447 against 525 with twelve (2026-11-26)."""

EVEN = 8
"""Rows of a matrix come in this many to MKL's liking."""

MANY = 256
"""From this many tokens on it matters: below, preparing a product of a new size may take longer than is gained."""


@dataclass(frozen=True)
class Packed:
    """The first `rows` rows of a matrix in 4-bit groups, in the layout of PyTorch's CPU kernel.

    digits: for each digit of 4 bits (one, or two for 8 bits) its levels and, bfloat16 [D/group, rows, 2], its scales
    and the value of its level 8. The matrix is their sum; rows beyond stay as they are.
    """

    rows: int
    group: int
    digits: tuple[tuple[Tensor, Tensor], ...]

    def times(self, x: Tensor, weight: Tensor, expert: int | None = None) -> Tensor:
        """x [T, D] times the matrix [O, D] (an expert's of [E, O, D]) of which this holds the first rows -> [T, O]. Of
        float32, too, in bfloat16: the kernel is fast in nothing else."""
        multiply, given = torch.ops.aten._weight_int4pack_mm_for_cpu, x.to(torch.bfloat16).contiguous()
        products = [multiply(given, levels, self.group, scale_zero).to(x.dtype) for levels, scale_zero in self.digits]
        product = products[0] if len(products) == 1 else torch.add(*products)
        if self.rows == weight.shape[-2]:
            return product
        rest = (weight if expert is None else weight[expert])[self.rows :]
        return torch.cat([product, x @ rest.t()], -1)


class Weight(nn.Parameter):
    """A matrix [O, D], or one for each expert [E, O, D], that may also be held packed."""

    _grids: tuple[tuple[int, Grid], ...] = ()
    _packed: tuple[Packed, ...] | None = None

    def keep(self, row: int, grid: Grid) -> None:
        """Hold the rows from `row` on (counted through all experts), whose values `grid` has, packed as well: from
        their first use for a few tokens on."""
        self._grids = (*self._grids, (row, grid))

    @property
    def packed(self) -> tuple[Packed, ...]:
        """The packed matrix (of each expert), or nothing."""
        if self._packed is None and self._grids:
            rows, count = self.shape[-2], self.shape[0] if self.dim() == 3 else 1
            found = [pack(self._leading(n * rows, (n + 1) * rows)) for n in range(count)]
            self._packed = tuple(one for one in found if one is not None) if None not in found else ()
            self._grids = ()
        return self._packed or ()

    def _leading(self, start: int, end: int) -> list[Grid]:
        """The grids that follow each other from row `start` on, all of one form."""
        leading: list[Grid] = []
        for row, grid in sorted(self._grids, key=lambda each: each[0]):
            alike = not leading or (grid.bits, grid.group) == (leading[0].bits, leading[0].group)
            if row == start < end and alike:
                leading.append(grid)
                start += len(grid.q)
        return leading


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this processor multiplies a few tokens of such numbers faster by packed matrices: PyTorch's kernel is
    written for AVX2 and AVX-512, and plain loops elsewhere."""
    return dtype in FEW and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def pack(grids: Sequence[Grid]) -> Packed | None:
    """The rows of grids of one form, as many as a multiple of 16; None if that is none."""
    rows = sum(len(grid.q) for grid in grids) // 16 * 16
    if not rows:
        return None
    q, scale, zero = (torch.cat([getattr(grid, part) for grid in grids]) for part in ("q", "scale", "zero"))
    whole = Grid(q, scale, zero, grids[0].bits)
    blocks = [_digits(whole.rows(start, min(rows, start + 2048))) for start in range(0, rows, 2048)]
    digits = [tuple(zip(*parts, strict=True)) for parts in zip(*blocks, strict=True)]
    return Packed(rows, whole.group, tuple((torch.cat(levels), torch.cat(scales, 1)) for levels, scales in digits))


def _digits(grid: Grid) -> list[tuple[Tensor, Tensor]]:
    """The digits of a grid's rows, which are a multiple of 16 and few: their integers take eight times their bytes."""
    levels, scale, zero = grid.levels, grid.scale.float(), grid.zero.float()
    digits = []
    for shift in range(0, grid.bits, 4):
        # The kernel counts a digit's levels from the eighth; the grid's lowest value goes with the last digit.
        unit = scale * 2**shift
        lowest = 8 * unit + (zero if shift + 4 == grid.bits else 0)
        scale_zero = torch.stack([unit, lowest], -1).transpose(0, 1).contiguous().to(grid.scale.dtype)
        digit = levels if grid.bits == 4 else (levels >> shift) & 15
        digits.append((torch.ops.aten._convert_weight_to_int4pack_for_cpu(digit.to(torch.int32), 1), scale_zero))
    return digits


def linear(x: Tensor, weight: Tensor, expert: int | None = None) -> Tensor:
    """x [T, D], weight [O, D] -> [T, O]; with `expert`, weight is [E, O, D] and its matrix of that number is meant."""
    if isinstance(weight, Weight) and x.shape[0] <= FEW.get(x.dtype, 0) and (packed := weight.packed):
        return packed[expert or 0].times(x, weight, expert)
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
