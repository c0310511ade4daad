"""4-, 6- and 8-bit groups: how `mini`'s weights are stored. A matrix [out, in] becomes a `Grid`'s three tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.quant import Grid, affine_grid


def quantize(weight: Tensor, bits: int, group: int = 64) -> Grid:
    """A matrix [out, in] on a grid of 2^bits levels. Raises ValueError when `in` is no multiple of `group`."""
    levels, scale, zero = affine_grid(weight, bits, group)
    return pack(levels.flatten(1), scale[..., 0], zero[..., 0], bits)


def pack(levels: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Grid:
    """A `Grid` of levels [out, in] (whole numbers of any dtype), scale and zero [out, in/group] (bf16)."""
    q = levels.to(torch.uint8)
    if bits == 4:
        q = q[:, 0::2] | (q[:, 1::2] << 4)
    elif bits == 6:
        four = q.unflatten(1, (-1, 4))
        fourth = four[..., 3:]
        q = (four[..., :3] | torch.cat((fourth << 6, (fourth >> 2) << 6, (fourth >> 4) << 6), -1)).flatten(1)
    return Grid(q.contiguous(), scale.contiguous(), zero.contiguous(), bits)


def round_trip(weight: Tensor, bits: int, group: int = 64) -> Tensor:
    """What a matrix becomes once stored and read back, in its own dtype: for training against the stored grid."""
    levels, scale, zero = affine_grid(weight, bits, group)
    return (levels * scale.float() + zero.float()).flatten(1).to(weight.dtype)
