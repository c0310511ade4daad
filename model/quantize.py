"""4- and 8-bit groups: how `mini`'s weights are stored.

A matrix [out, in] becomes `q` (uint8; two 4-bit values a byte, low nibble first), `scale` and `zero` (bf16,
[out, in / group]); a value is q * scale + zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.quant import affine_grid


def quantize(weight: Tensor, bits: int, group: int = 64) -> dict[str, Tensor]:
    """A matrix [out, in] as `q`, `scale`, `zero`. Raises ValueError when `in` is no multiple of `group`."""
    levels, scale, zero = affine_grid(weight, bits, group)
    q = levels.flatten(1).to(torch.uint8)
    if bits == 4:
        q = q[:, 0::2] | (q[:, 1::2] << 4)
    return {"q": q.contiguous(), "scale": scale[..., 0].contiguous(), "zero": zero[..., 0].contiguous()}


def dequantize(packed: dict[str, Tensor], bits: int, group: int = 64, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """The matrix [out, in] back, computed in float32 and rounded to `dtype`."""
    q = packed["q"]
    if bits == 4:
        q = torch.stack((q & 15, q >> 4), -1).flatten(1)
    value = q.unflatten(1, (-1, group)).float() * packed["scale"].float()[..., None] + packed["zero"].float()[..., None]
    return value.flatten(1).to(dtype)


def round_trip(weight: Tensor, bits: int, group: int = 64) -> Tensor:
    """What a matrix becomes once stored and read back, in its own dtype: for training against the stored grid."""
    levels, scale, zero = affine_grid(weight, bits, group)
    return (levels * scale.float() + zero.float()).flatten(1).to(weight.dtype)
