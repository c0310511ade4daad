"""Tokens in the order of their experts, for products that copy whole tiles of rows (Triton)."""
# mypy: disallow-untyped-defs=False

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import quant


def spread(x: Tensor, place: Tensor, places: int, fp8: bool) -> tuple[Tensor, Tensor]:
    """Every token once among the first rows, in order, and once at each of its places.

    x [T, D], place int32 [T * top_k] -> rows [places, D] in x's dtype or, with fp8, as `quant.rows_to_fp8`'s values,
    and their scales float32 [D/128, places]. Rows at nobody's places are not written.
    """
    tokens, width = x.shape
    blocks = triton.cdiv(width, quant.BLOCK)
    rows = torch.empty(places, width, dtype=torch.float8_e4m3fn if fp8 else x.dtype, device=x.device)
    scales = torch.empty(blocks if fp8 else 0, places, dtype=torch.float32, device=x.device)
    _spread[(triton.cdiv(tokens, 16), blocks)](
        x, x.stride(0), place, rows, scales, tokens, width, places,
        TOP_K=place.shape[0] // tokens, FP8=fp8, BLOCK_T=16, BLOCK=quant.BLOCK,
    )  # fmt: skip
    return rows, scales


@triton.jit
def _spread(
    x_ptr, x_row, place_ptr, rows_ptr, scale_ptr, tokens, width, places,
    TOP_K: tl.constexpr, FP8: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """BLOCK columns of BLOCK_T tokens."""
    t, block = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T), tl.program_id(1)
    d = block * BLOCK + tl.arange(0, BLOCK)[None, :]
    there = (t < tokens)[:, None] & (d < width)
    x = tl.load(x_ptr + t.to(tl.int64)[:, None] * x_row + d, mask=there, other=0.0)
    scale = tl.zeros([BLOCK_T], tl.float32)
    if FP8:
        x = x.to(tl.float32)
        scale = tl.maximum(tl.max(tl.abs(x), 1), 1e-12) / 448.0
        x = x / scale[:, None]
    x = x.to(rows_ptr.dtype.element_ty)
    row = t
    for k in tl.static_range(TOP_K + 1):
        if k > 0:
            row = tl.load(place_ptr + t * TOP_K + k - 1, mask=t < tokens, other=0)
        tl.store(rows_ptr + row.to(tl.int64)[:, None] * width + d, x, mask=there)
        if FP8:
            tl.store(scale_ptr + block * places + row, scale, mask=t < tokens)
