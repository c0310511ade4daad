"""A matrix times 1 to 8 tokens in Triton, at the speed the matrix can be read: bfloat16, fp8 blocks or int4 groups.

A warp takes 16 rows through the tensor cores, 128 columns at a time, several steps under way. One or two tokens and a
small matrix: a program takes a few whole rows in one go, so that all its loads are under way before the first is
needed; multiplying costs less than reading. Sums are float32. Scales multiply sums over what shares them: fp8's of 128
columns; int4's of 64, where a zero multiplies the sum of x.
"""

import torch

# mypy: allow-untyped-defs
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch_triton import begin, let_next, overlap, wait
from kernels.quant import Fp8, Int4, Weights

MOST_TOKENS = 8
SMALL = 4096
"""A matrix of so few rows is too few tiles for a GPU: one or two tokens take it by whole rows."""
ROWS, TILE_ROWS = 4, 16
STEP, SMALL_STEP = 128, 256
"""Columns of a tile that are multiplied at a time. Of a small matrix there is about one tile for each multiprocessor of
a Hopper GPU, which needs more bytes under way."""

WIDTH = 4096
"""Columns of a program's tile at most; longer rows take several."""


@triton.jit
def rows_kernel(
    x_ptr, weight_ptr, scale_ptr, zero_ptr, y_ptr, x_stride, rows, width,
    TOKENS: tl.constexpr, ROWS: tl.constexpr, BLOCKS: tl.constexpr, FORM: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """y [T, rows] = x [T, width] times ROWS rows of the matrix, BLOCKS x 128 columns at a time."""
    let_next(OVERLAP)
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    token = tl.arange(0, TOKENS)
    y = tl.zeros((TOKENS, ROWS), tl.float32)
    for start in range(0, width, BLOCKS * 128):
        block = start // 128 + tl.arange(0, BLOCKS)
        if FORM == "int4":
            n = tl.arange(0, 64)[None, None, :]
            here = (row < rows)[:, None, None] & (block * 128 < width)[None, :, None]
            packed = tl.load(weight_ptr + row[:, None, None] * (width // 2) + block[None, :, None] * 64 + n, mask=here)
            wait(OVERLAP)  # the matrix is there already, and is on its way when the tokens come
            group = row[:, None] * (width // 64) + block[None, :] * 2
            here = (row < rows)[:, None] & (block * 128 < width)[None, :]
            for half in tl.static_range(2):
                level = ((packed >> (4 * half)) & 15).to(tl.float32)
                scale = tl.load(scale_ptr + group + half, mask=here, other=0.0).to(tl.float32)
                zero = tl.load(zero_ptr + group + half, mask=here, other=0.0).to(tl.float32)
                column = block[:, None] * 128 + half * 64 + tl.arange(0, 64)[None, :]
                for t in tl.static_range(TOKENS):
                    x = tl.load(x_ptr + t * x_stride + column, mask=column < width, other=0.0).to(tl.float32)
                    part = tl.sum(level * x[None, :, :], 2) * scale + zero * tl.sum(x, 1)[None, :]
                    y += tl.where(token == t, 1.0, 0.0)[:, None] * tl.sum(part, 1)[None, :]
        else:
            column = block[:, None] * 128 + tl.arange(0, 128)[None, :]
            here = (row < rows)[:, None, None] & (column < width)[None, :, :]
            weight = tl.load(weight_ptr + row[:, None, None] * width + column[None, :, :], mask=here, other=0.0)
            wait(OVERLAP)
            for t in tl.static_range(TOKENS):
                x = tl.load(x_ptr + t * x_stride + column, mask=column < width, other=0.0).to(tl.float32)
                product = weight.to(tl.float32) * x[None, :, :]
                if FORM == "fp8":
                    scale_at = (row // 128)[:, None] * tl.cdiv(width, 128) + block[None, :]
                    scale_here = (row < rows)[:, None] & (block * 128 < width)[None, :]
                    scale = tl.load(scale_ptr + scale_at, mask=scale_here, other=0.0)
                    total = tl.sum(tl.sum(product, 2) * scale, 1)
                else:
                    total = tl.sum(tl.reshape(product, (ROWS, BLOCKS * 128)), 1)
                y += tl.where(token == t, 1.0, 0.0)[:, None] * total[None, :]
    out = y_ptr + token[:, None] * rows + row[None, :]
    tl.store(out, y.to(y_ptr.dtype.element_ty), mask=(row < rows)[None, :])


@triton.jit
def tiles_kernel(
    x_ptr, weight_ptr, scale_ptr, zero_ptr, y_ptr, x_stride, tokens, rows, width,
    TOKENS: tl.constexpr, ROWS: tl.constexpr, STEP: tl.constexpr, FORM: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """y [T, rows] = x [T, width] times ROWS rows of the matrix, STEP columns at a time (128 where scales are to be
    minded); TOKENS is T rounded up to the tensor cores' 8."""
    begin(OVERLAP)
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    token = tl.arange(0, TOKENS)
    here, is_token = (row < rows)[:, None], (token < tokens)[None, :]
    y = tl.zeros((ROWS, TOKENS), tl.float32)
    for start in range(0, width, STEP):
        if FORM == "int4":
            n = tl.arange(0, 64)
            packed = tl.load(weight_ptr + row[:, None] * (width // 2) + start // 2 + n[None, :], mask=here, other=0)
            group = row * (width // 64) + start // 64
            for half in tl.static_range(2):
                x_at = x_ptr + token[None, :] * x_stride + start + half * 64 + n[:, None]
                x = tl.load(x_at, mask=is_token, other=0.0)
                level = ((packed >> (4 * half)) & 15).to(tl.float32).to(x.dtype)
                scale = tl.load(scale_ptr + group + half, mask=row < rows, other=0.0).to(tl.float32)
                zero = tl.load(zero_ptr + group + half, mask=row < rows, other=0.0).to(tl.float32)
                product = tl.dot(level, x, input_precision="ieee")
                y += product * scale[:, None] + zero[:, None] * tl.sum(x.to(tl.float32), 0)[None, :]
        else:
            column = start + tl.arange(0, STEP)
            inside = column < width
            x_at = x_ptr + token[None, :] * x_stride + column[:, None]
            x = tl.load(x_at, mask=is_token & inside[:, None], other=0.0)
            at = weight_ptr + row[:, None] * width + column[None, :]
            weight = tl.load(at, mask=here & inside[None, :], other=0.0)
            if FORM == "fp8":
                scale_at = row // 128 * tl.cdiv(width, 128) + start // 128
                scale = tl.load(scale_ptr + scale_at, mask=row < rows, other=0.0)
                y += tl.dot(weight.to(x.dtype), x, input_precision="ieee") * scale[:, None]
            else:
                y = tl.dot(weight, x, y, input_precision="ieee")
    out = y_ptr + token[None, :] * rows + row[:, None]
    tl.store(out, y.to(y_ptr.dtype.element_ty), mask=here & is_token)


def linear(x: Tensor, weight: Weights) -> Tensor:
    """`linear.linear` of 1 to 8 tokens x [T, D]."""
    tokens, width = x.shape
    x = x if x.stride(1) == 1 else x.contiguous()
    if isinstance(weight, Int4):
        form, values, scale, zero = "int4", weight.packed, weight.scale, weight.zero
    elif isinstance(weight, Fp8):
        form, values, scale, zero = "fp8", weight.values, weight.scale, weight.scale
    else:
        form, values, scale, zero = "whole", weight, weight, weight
    rows = values.shape[0]
    y = torch.empty(tokens, rows, dtype=x.dtype, device=x.device)
    if rows <= SMALL and tokens <= (1 if form == "whole" else 2):
        blocks = min(WIDTH // 128, triton.next_power_of_2(triton.cdiv(width, 128)))
        rows_kernel[(triton.cdiv(rows, ROWS),)](
            x, values, scale, zero, y, x.stride(0), rows, width,
            TOKENS=tokens, ROWS=ROWS, BLOCKS=blocks, FORM=form, num_warps=4, **overlap(x.device),
        )  # fmt: skip
    else:
        step = SMALL_STEP if rows <= SMALL and form == "whole" else STEP
        tiles_kernel[(triton.cdiv(rows, TILE_ROWS),)](
            x, values, scale, zero, y, x.stride(0), tokens, rows, width,
            TOKENS=MOST_TOKENS, ROWS=TILE_ROWS, STEP=step, FORM=form, num_warps=1, num_stages=6, **overlap(x.device),
        )  # fmt: skip
    return y
