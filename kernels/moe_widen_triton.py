"""`quant.dequantize` of int4 matrices on a GPU, for products of many rows (Triton).

A product of 16k tokens with 256 experts reads every weight four times out of L2: turned into bfloat16 inside the
product, it is turned four times while the tensor cores wait. Written out once, a weight costs 2.5 bytes of traffic.
"""
# mypy: disallow-untyped-defs=False

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.quant import BLOCK, Int4


def widen(weight: Int4, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """`quant.dequantize` of matrices [..., O, I] that lie in memory without gaps."""
    *stack, rows, half = weight.packed.shape
    out = torch.empty(*stack, rows, 2 * half, dtype=dtype, device=weight.packed.device)
    flat = out.flatten(0, -2)
    _widen[(triton.cdiv(flat.shape[0], 64), 2 * half // BLOCK)](
        weight.packed, weight.scale, weight.zero, out, flat.shape[0], half, BLOCK_R=64, BLOCK_C=BLOCK // 2,
    )  # fmt: skip
    return out


@triton.jit
def _widen(packed_ptr, scale_ptr, zero_ptr, out_ptr, rows, half, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """128 columns of BLOCK_R rows: the low halves of their bytes are one group's, the high halves the next one's."""
    row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    block, column = tl.program_id(1), tl.arange(0, BLOCK_C)[None, :]
    there = (row < rows)[:, None]
    at = row.to(tl.int64)[:, None]
    packed = tl.load(packed_ptr + at * half + block * BLOCK_C + column, mask=there, other=0)
    groups = at * (half // (BLOCK_C // 2)) + 2 * block
    for side in tl.static_range(2):
        scale = tl.load(scale_ptr + groups + side, mask=there, other=0.0).to(tl.float32)
        zero = tl.load(zero_ptr + groups + side, mask=there, other=0.0).to(tl.float32)
        level = (packed >> (4 * side)) & 15
        out = out_ptr + at * (2 * half) + block * (2 * BLOCK_C) + side * BLOCK_C + column
        tl.store(out, (level.to(tl.float32) * scale + zero).to(out_ptr.dtype.element_ty), mask=there)
