"""Matrix times tokens, with ways of their own for a few of them, where reading the matrix is what takes time."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import backend

FEW_ON_GPU = 8
"""Up to this many tokens a matrix on a GPU takes as long as it takes to be read: the width of a tensor core's tile."""

FEW = 4
"""Up to this many tokens the packed form is faster: for 1856 x 576 on one Zen 4 core 58 against 94 us with one token,
103 against 113 with four, 201 against 149 with eight (2026-11-25)."""


@dataclass(frozen=True)
class Packed:
    """The first `rows` rows of a matrix in 4-bit groups, in the layout of PyTorch's CPU kernel.

    digits: for each digit of 4 bits (one, or two for 8 bits) its levels and, bfloat16 [D/group, rows, 2], its scales
    and the value of its level 8. The matrix is their sum; rows beyond stay as they are.
    """

    rows: int
    group: int
    digits: tuple[tuple[Tensor, Tensor], ...]

    def times(self, x: Tensor, weight: Tensor) -> Tensor:
        """x [T, D] times the matrix [O, D] of which this holds the first rows -> [T, O]."""
        multiply, x = torch.ops.aten._weight_int4pack_mm_for_cpu, x.contiguous()
        products = [multiply(x, levels, self.group, scale_zero) for levels, scale_zero in self.digits]
        product = products[0] if len(products) == 1 else torch.add(*products)
        rest = weight[self.rows :]
        return torch.cat([product, x @ rest.t()], -1) if len(rest) else product


class Weight(nn.Parameter):
    """A matrix [O, D], or one for each expert [E, O, D], that may also be held packed."""

    _form: tuple[int, int] | None = None
    _packed: tuple[Packed, ...] | None = None

    def pack(self, bits: int, group: int) -> None:
        """Hold it packed as well from its first use for a few tokens on, if its values are of that form."""
        self._form = bits, group

    @property
    def packed(self) -> tuple[Packed, ...]:
        """The packed matrix (of each expert), or nothing."""
        if self._packed is None and self._form:
            found = [pack(matrix, *self._form) for matrix in (self.data if self.dim() == 3 else self.data[None])]
            self._packed = tuple(one for one in found if one is not None) if None not in found else ()
        return self._packed or ()


def pack(weight: Tensor, bits: int, group: int) -> Packed | None:
    """The leading rows of weight [O, D] that lie on a grid of 2^bits levels (bits 4 or 8) for each `group` columns.

    The grid is found in the values, which reach its lowest and its highest level: what was stored in 4 bits is
    recognised, and what was not is left alone; None if that is all. 8 bits are as fine as bfloat16 and always fit.
    """
    blocks: list[list[tuple[Tensor, Tensor]]] = []
    for block in weight.split(2048):  # in the processor's cache; the kernel's layout goes by rows
        digits = _pack_block(block, bits, group)
        blocks.append(digits)
        if len(digits[0][0]) < len(block):
            break
    joined = [tuple(zip(*parts, strict=True)) for parts in zip(*blocks, strict=True)]  # for each digit, its two parts
    whole = tuple((torch.cat(levels), torch.cat(scale_zero, 1)) for levels, scale_zero in joined)
    return Packed(len(whole[0][0]), group, whole) if len(whole[0][0]) else None


def _pack_block(weight: Tensor, bits: int, group: int) -> list[tuple[Tensor, Tensor]]:
    """The digits of the leading rows that are on a grid, as many as a multiple of 16."""
    groups = weight.float().unflatten(-1, (-1, group))
    low, high = groups.aminmax(dim=-1, keepdim=True)
    groups -= low
    scale = ((high - low) / (2**bits - 1)).clamp_min_(1e-12)
    for _ in range(bits // 4):  # values are rounded: the step that fits them all best is the one they were stored with
        levels = (groups / scale).round_()
        scale = (levels * groups).sum(-1, keepdim=True) / levels.square_().sum(-1, keepdim=True).clamp_min_(1)
        scale = scale.clamp_min_(1e-12).to(weight.dtype).float()
    levels = (groups / scale).round_().clamp_(0, 2**bits - 1)
    rows = len(weight)
    if bits == 4:  # bfloat16 rounds a value by up to 1/512 of itself
        off = (levels * scale - groups).abs_() > torch.maximum(low.abs(), high.abs()) / 128
        rows = next(iter(off.flatten(1).any(1).nonzero().flatten().tolist()), rows)
    rows = rows // 16 * 16
    digits = []
    integers = levels[:rows].flatten(1).to(torch.int32)
    for shift in range(0, bits, 4):
        # The kernel counts a digit's levels from the eighth; the grid's lowest value goes with the last digit.
        unit = scale * 2**shift
        zero = 8 * unit + (low if shift + 4 == bits else 0)
        scale_zero = torch.stack([unit, zero], -1)[:rows, :, 0].transpose(0, 1).contiguous()
        digit = (integers >> shift) & 15
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(digit, 1) if rows else digit.to(torch.uint8)
        digits.append((packed, scale_zero.to(weight.dtype)))
    return digits


def linear(x: Tensor, weight: Tensor, expert: int | None = None) -> Tensor:
    """x [T, D], weight [O, D] -> [T, O]; with `expert`, weight is [E, O, D] and its matrix of that number is meant."""
    matrix = weight if expert is None else weight[expert]
    if 0 < x.shape[0] <= FEW_ON_GPU and x.dtype != torch.float64 and backend.use_triton(x):
        from kernels import linear_triton

        return linear_triton.linear(x, matrix)
    if x.shape[0] <= FEW and isinstance(weight, Weight) and weight.packed:
        return weight.packed[expert or 0].times(x, matrix)
    return F.linear(x, matrix)
