"""Weights in fewer bits: fp8 in scaled blocks and int4 in scaled groups, as the GPU kernels read them.

`Fp8`: e4m3 values with a float32 scale for each block of 128 x 128 (DeepSeek-V3, arXiv 2412.19437, section 3.3);
activations get a scale for each 128 numbers of a row. `Int4`: a scale and a zero for each 64 numbers of a row, on the
grid that `mini` is stored on (`model.quantize`), but packed so that the halves of a byte lie a whole group apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128
"""Rows and columns that share an fp8 scale; columns of an int4 row packed together."""

GROUP = 64
"""Numbers of a row that share an int4 scale and zero."""

ROWS = 512
"""Rows of a stored matrix worked on at once: their intermediates stay in a processor's cache."""

FP8_MAX = 448.0
"""The largest e4m3 number."""


@dataclass(frozen=True)
class Fp8:
    """Matrices [..., O, I]: values float8_e4m3fn [..., O, I], scale float32 [..., ceil(O/128), ceil(I/128)]."""

    values: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Int4:
    """Matrices [..., O, I]: packed uint8 [..., O, I/2], scale and zero bfloat16 [..., O, I/64].

    Of each 128 columns, byte n holds column n in its low half and column 64 + n in its high half.
    """

    packed: Tensor
    scale: Tensor
    zero: Tensor


@dataclass(frozen=True)
class Grid:
    """A matrix [O, I] as `mini` is stored: q uint8 [O, I * bits / 8]; scale and zero bfloat16 [O, I/group]. A value is
    level * scale + zero. Of 4 bits a byte has two levels, the low one first; of 6 bits three bytes have four, a level
    each, and in their upper two bits the fourth's, the low ones first."""

    q: Tensor
    scale: Tensor
    zero: Tensor
    bits: int

    @property
    def levels(self) -> Tensor:
        """uint8 [O, I]."""
        if self.bits == 6:
            three = self.q.unflatten(1, (-1, 3))
            low, middle, high = (three >> 6).unbind(-1)
            return torch.cat((three & 63, (low | (middle << 2) | (high << 4))[..., None]), -1).flatten(1)
        return self.q if self.bits == 8 else torch.stack((self.q & 15, self.q >> 4), -1).flatten(1)

    def in_bytes(self) -> "Grid":
        """The same with a byte for each level if it has 6 bits, of which the kernels know nothing."""
        return Grid(self.levels, self.scale, self.zero, 8) if self.bits == 6 else self

    def rows(self, start: int, end: int) -> "Grid":
        """The rows from `start` to `end`."""
        return Grid(self.q[start:end], self.scale[start:end], self.zero[start:end], self.bits)

    @property
    def group(self) -> int:
        """Columns that share a scale and a zero."""
        return self.q.shape[1] * 8 // self.bits // self.scale.shape[1]

    def values(self, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        """The matrix back: computed in float32 and rounded to `dtype`."""
        values = torch.empty(self.q.shape[0], self.q.shape[1] * 8 // self.bits, dtype=dtype, device=self.q.device)
        for start in range(0, len(values), ROWS):
            part = self.rows(start, start + ROWS)
            wide = part.levels.unflatten(1, (-1, part.group)).float()
            wide.mul_(part.scale.float()[..., None]).add_(part.zero.float()[..., None])
            values[start : start + ROWS] = wide.flatten(1)
        return values


Weights = Tensor | Fp8 | Int4
"""Matrices [..., O, I] as they are, or quantised."""

Form = Literal["bf16", "fp8", "int4"]
"""A name for each of these forms; `bf16` are matrices as they are, in the model's own dtype."""

FORMS: tuple[Form, ...] = get_args(Form)


def empty(form: Form, *shape: int) -> Weights:
    """Room for matrices of shape [..., O, I], on the default device. Raises ValueError where I does not fit int4."""
    *stack, rows, columns = shape
    if form == "fp8":
        scale = torch.empty(*stack, -(-rows // BLOCK), -(-columns // BLOCK), dtype=torch.float32)
        return Fp8(torch.empty(shape, dtype=torch.float8_e4m3fn), scale)
    if form == "int4":
        if columns % BLOCK:
            raise ValueError(f"cannot pack {shape} to 4 bits: its rows are no multiple of {BLOCK} long")
        scale, zero = (torch.empty(*stack, rows, columns // GROUP, dtype=torch.bfloat16) for _ in range(2))
        return Int4(torch.empty(*stack, rows, columns // 2, dtype=torch.uint8), scale, zero)
    return torch.empty(shape)


def store(place: Weights, matrices: Tensor) -> None:
    """Put matrices [..., O, I] into `place`, in the form that it has."""
    packed: Weights = matrices
    if isinstance(place, Fp8):
        packed = to_fp8(matrices)
    elif isinstance(place, Int4):
        packed = to_int4(matrices)
    for target, part in zip(parts(place), parts(packed), strict=True):
        target.copy_(part)


def parts(weight: Weights) -> tuple[Tensor, ...]:
    """The tensors that hold a weight."""
    return (weight,) if isinstance(weight, Tensor) else tuple(vars(weight).values())


def each(weight: Weights, change: Callable[[Tensor], Tensor]) -> Weights:
    """The weight of the tensors that `change` makes of those that hold it: some of a stack, or whole blocks of rows."""
    changed = [change(part) for part in parts(weight)]
    return changed[0] if isinstance(weight, Tensor) else type(weight)(*changed)


def affine_grid(weight: Tensor, bits: int, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Levels [..., I/group, group] (whole numbers, float), scale and zero [..., I/group, 1] (bf16) of a weight.

    The value is level * scale + zero. Raises ValueError when I is no multiple of `group`.
    """
    if weight.shape[-1] % group or bits not in (4, 6, 8):
        raise ValueError(f"cannot quantise {tuple(weight.shape)} to {bits} bits in groups of {group}")
    grouped = weight.float().unflatten(-1, (-1, group))
    low, high = grouped.aminmax(dim=-1, keepdim=True)
    top = 2**bits - 1
    zero = low.bfloat16()
    scale = ((high - zero.float()) / top).clamp_min(1e-12).bfloat16()
    levels = ((grouped - zero.float()) / scale.float()).round_().clamp_(0, top)
    return levels, scale, zero


def to_fp8(weight: Tensor) -> Fp8:
    """Quantise matrices [..., O, I]."""
    rows, columns = weight.shape[-2:]
    padded = F.pad(weight.float(), (0, -columns % BLOCK, 0, -rows % BLOCK))
    blocks = padded.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK))  # [..., O/128, 128, I/128, 128]
    scale = blocks.abs().amax((-3, -1)).clamp_min(1e-12) / FP8_MAX
    values = (blocks / scale[..., :, None, :, None]).flatten(-4, -3).flatten(-2)
    return Fp8(values[..., :rows, :columns].to(torch.float8_e4m3fn).contiguous(), scale)


def rows_to_fp8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Activations x [T, D] as (float8_e4m3fn [T, D], scale float32 [T, ceil(D/128)]): a scale for each 128 of a row."""
    blocks = F.pad(x.float(), (0, -x.shape[1] % BLOCK)).unflatten(-1, (-1, BLOCK))
    scale = blocks.abs().amax(-1).clamp_min(1e-12) / FP8_MAX
    values = (blocks / scale[..., None]).flatten(-2)[:, : x.shape[1]]
    return values.to(torch.float8_e4m3fn).contiguous(), scale


def to_int4(weight: Tensor) -> Int4:
    """Quantise matrices [..., O, I]. Raises ValueError when I is no multiple of 128."""
    if weight.shape[-1] % BLOCK:
        raise ValueError(f"cannot pack {tuple(weight.shape)} to 4 bits: its rows are no multiple of {BLOCK} long")
    levels, scale, zero = affine_grid(weight, 4, GROUP)
    low, high = levels.to(torch.uint8).unflatten(-2, (-1, 2)).unbind(-2)  # [..., I/128, 64]
    return Int4((low | (high << 4)).flatten(-2), scale[..., 0].contiguous(), zero[..., 0].contiguous())


def dequantize(weight: Weights, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """The matrices [..., O, I] back: computed in float32 and rounded to `dtype`; a plain tensor as it is."""
    if isinstance(weight, Fp8):
        rows, columns = weight.values.shape[-2:]
        scale = weight.scale.repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)
        return (weight.values.float() * scale[..., :rows, :columns]).to(dtype)
    if isinstance(weight, Int4):
        halves = weight.packed.unflatten(-1, (-1, GROUP))
        levels = torch.stack([halves & 15, halves >> 4], -2).flatten(-3, -2).float()  # [..., I/64, 64]
        return (levels * weight.scale.float()[..., None] + weight.zero.float()[..., None]).flatten(-2).to(dtype)
    return weight


def shape(weight: Weights) -> torch.Size:
    """[..., O, I]."""
    if isinstance(weight, Int4):
        return torch.Size([*weight.packed.shape[:-1], 2 * weight.packed.shape[-1]])
    return weight.values.shape if isinstance(weight, Fp8) else weight.shape
