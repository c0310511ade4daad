"""Both sides of `mla_decode_triton.attend_spans` for one token a row: queries into latent space, values out (Triton).

Each side is one launch, where PyTorch takes a product, a concatenation and conversions. The matrix of a head is asked
for before the kernel in front has ended; what is multiplied with it comes after.
"""
# mypy: disallow-untyped-defs=False

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.kda_chunk_triton import dot
from kernels.launch_triton import let_next, overlap, wait

ROWS, LATENTS, VALUES = 16, 64, 32
"""Rows of a program, the tensor cores' fewest; and how many of a head's numbers it makes: at the 48B's shape 256
programs of `absorb` read 16 KiB each, 128 of `unabsorb` 32 KiB."""


def absorb(q: Tensor, up: Tensor, nope: int) -> Tensor:
    """`mla.absorb` of one token a row: q [B, H, nope+P], up [H, nope+V, R] -> [B, H, R+P]."""
    rows, heads, width = q.shape
    _, height, rank = up.shape
    shared = width - nope
    out = torch.empty(rows, heads, rank + shared, dtype=q.dtype, device=q.device)
    absorb_kernel[(heads, triton.cdiv(rank, LATENTS), triton.cdiv(rows, ROWS))](
        q.contiguous(), up.contiguous(), out, rows, heads,
        NOPE=nope, SHARED=shared, HEIGHT=height, RANK=rank, ROWS=ROWS, LATENTS=LATENTS,
        BLOCK_NOPE=max(16, triton.next_power_of_2(nope)), BLOCK_SHARED=triton.next_power_of_2(shared), num_warps=4,
        **overlap(q.device),
    )  # fmt: skip
    return out


def unabsorb(o: Tensor, up: Tensor, nope: int) -> Tensor:
    """`mla.unabsorb` of one token a row, o rounded to the map's dtype: o float32 [B, H, R], up [H, nope+V, R] ->
    [B, H V] in up's dtype."""
    rows, heads, rank = o.shape
    height = up.shape[1]
    out = torch.empty(rows, heads * (height - nope), dtype=up.dtype, device=o.device)
    unabsorb_kernel[(heads, triton.cdiv(height - nope, VALUES), triton.cdiv(rows, ROWS))](
        o.contiguous(), up.contiguous(), out, rows, heads,
        NOPE=nope, HEIGHT=height, RANK=rank, ROWS=ROWS, VALUES=VALUES, BLOCK_RANK=max(16, triton.next_power_of_2(rank)),
        num_warps=4, **overlap(o.device),
    )  # fmt: skip
    return out


@triton.jit
def absorb_kernel(
    q_ptr, up_ptr, out_ptr, rows, heads,
    NOPE: tl.constexpr, SHARED: tl.constexpr, HEIGHT: tl.constexpr, RANK: tl.constexpr, ROWS: tl.constexpr,
    LATENTS: tl.constexpr, BLOCK_NOPE: tl.constexpr, BLOCK_SHARED: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """LATENTS numbers of one head for ROWS rows; the first program of a head also brings along what is shared."""
    let_next(OVERLAP)
    head = tl.program_id(0)
    n, r = tl.arange(0, BLOCK_NOPE), tl.program_id(1) * LATENTS + tl.arange(0, LATENTS)
    up = up_ptr + (head * HEIGHT + n)[:, None] * RANK + r[None, :]
    up = tl.load(up, mask=(n < NOPE)[:, None] & (r < RANK)[None, :], other=0.0)
    wait(OVERLAP)
    row = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    there = (row < rows)[:, None]
    at = (row * heads + head)[:, None]
    q = tl.load(q_ptr + at * (NOPE + SHARED) + n[None, :], mask=there & (n < NOPE)[None, :], other=0.0)
    out = out_ptr + at * (RANK + SHARED)
    tl.store(out + r[None, :], dot(q, up).to(out_ptr.dtype.element_ty), mask=there & (r < RANK)[None, :])
    if tl.program_id(1) == 0:
        s = tl.arange(0, BLOCK_SHARED)
        keep = there & (s < SHARED)[None, :]
        shared = tl.load(q_ptr + at * (NOPE + SHARED) + NOPE + s[None, :], mask=keep, other=0.0)
        tl.store(out + RANK + s[None, :], shared, mask=keep)


@triton.jit
def unabsorb_kernel(
    o_ptr, up_ptr, out_ptr, rows, heads,
    NOPE: tl.constexpr, HEIGHT: tl.constexpr, RANK: tl.constexpr, ROWS: tl.constexpr, VALUES: tl.constexpr,
    BLOCK_RANK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """VALUES numbers of one head for ROWS rows."""
    let_next(OVERLAP)
    head = tl.program_id(0)
    r, v = tl.arange(0, BLOCK_RANK), tl.program_id(1) * VALUES + tl.arange(0, VALUES)
    up = up_ptr + (head * HEIGHT + NOPE + v)[:, None] * RANK + r[None, :]
    up = tl.load(up, mask=(v < HEIGHT - NOPE)[:, None] & (r < RANK)[None, :], other=0.0)
    wait(OVERLAP)
    row = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    at = (row * heads + head)[:, None]
    o = tl.load(o_ptr + at * RANK + r[None, :], mask=(row < rows)[:, None] & (r < RANK)[None, :], other=0.0)
    out = dot(o.to(up.dtype), tl.trans(up))
    keep = (row < rows)[:, None] & (v < HEIGHT - NOPE)[None, :]
    tl.store(out_ptr + at * (HEIGHT - NOPE) + v[None, :], out.to(out_ptr.dtype.element_ty), mask=keep)
