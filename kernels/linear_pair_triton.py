"""Two narrow matrices of one shape, each times tokens of its own, as one launch (Triton): KDA's gates' second factors.

Such a matrix is 1 MB at the 48B's shape: a launch of its own costs more than reading it. It is asked for before the
tokens are there.
"""
# mypy: disallow-untyped-defs=False

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.kda_chunk_triton import dot
from kernels.launch_triton import let_next, overlap, wait

MOST_WIDTH = 256
"""Columns of a matrix: a program holds whole rows."""

TOKENS, ROWS = 16, 32
"""Of a program; 16 tokens are the tensor cores' fewest."""


def pair(x: Tensor, y: Tensor, of_x: Tensor, of_y: Tensor) -> Tensor:
    """`linear.pair` of x and y [T, D], D at most 256, and matrices [O, D]: -> [2, T, O]."""
    tokens, width = x.shape
    rows = of_x.shape[0]
    x, y = (each if each.stride(1) == 1 else each.contiguous() for each in (x, y))
    out = torch.empty(2, tokens, rows, dtype=x.dtype, device=x.device)
    pair_kernel[(triton.cdiv(rows, ROWS), 2, triton.cdiv(tokens, TOKENS))](
        x, y, of_x, of_y, out, x.stride(0), y.stride(0), tokens, rows,
        WIDTH=width, BLOCK=max(16, triton.next_power_of_2(width)), TOKENS=TOKENS, ROWS=ROWS, num_warps=4,
        **overlap(x.device),
    )  # fmt: skip
    return out


@triton.jit
def pair_kernel(
    x_ptr, y_ptr, of_x_ptr, of_y_ptr, out_ptr, x_stride, y_stride, tokens, rows,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, TOKENS: tl.constexpr, ROWS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """ROWS rows of one of the matrices times TOKENS tokens."""
    let_next(OVERLAP)
    second = tl.program_id(1)
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    token = tl.program_id(2) * TOKENS + tl.arange(0, TOKENS)
    at, here = row[:, None] * WIDTH + column[None, :], (row < rows)[:, None] & (column < WIDTH)[None, :]
    there = (token < tokens)[:, None] & (column < WIDTH)[None, :]
    if second == 0:
        weight = tl.load(of_x_ptr + at, mask=here, other=0.0)
    else:
        weight = tl.load(of_y_ptr + at, mask=here, other=0.0)
    wait(OVERLAP)
    if second == 0:
        given = tl.load(x_ptr + token[:, None] * x_stride + column[None, :], mask=there, other=0.0)
    else:
        given = tl.load(y_ptr + token[:, None] * y_stride + column[None, :], mask=there, other=0.0)
    out = out_ptr + (second * tokens + token)[:, None] * rows + row[None, :]
    keep = (token < tokens)[:, None] & (row < rows)[None, :]
    tl.store(out, dot(given, tl.trans(weight)).to(out_ptr.dtype.element_ty), mask=keep)
