"""One token's latents into the pages of each of several rows (Triton): normed, and written where the row ends.

Pages are found as `mla_decode_triton.Span` finds them, by addresses and lengths read on the device, so a captured graph
serves rows of any length and pages that were not there when it was made.
"""
# mypy: disallow-untyped-defs=False

import triton
import triton.language as tl
from torch import Tensor

from kernels.launch_triton import let_next, overlap, wait


def append(latents: Tensor, weight: Tensor, eps: float, table: Tensor, lengths: Tensor, page_rows: int) -> None:
    """Write row b's latent as the last of its `lengths[b]` tokens, its first R numbers through an RMS norm.

    latents [B, R+P], each row's numbers side by side; weight [R]; table int64 [B, N]: addresses of each row's pages
    [page_rows, R+P] in latents' dtype; lengths int32 [B], the new token counted.
    """
    rows, width = latents.shape
    rank = weight.shape[0]
    append_kernel[(rows,)](
        latents, weight, table, lengths, latents.stride(0), table.stride(0), eps,
        RANK=rank, SHARED=width - rank, PAGE=page_rows,
        BLOCK_RANK=triton.next_power_of_2(rank), BLOCK_SHARED=triton.next_power_of_2(width - rank), num_warps=4,
        **overlap(latents.device),
    )  # fmt: skip


@triton.jit
def append_kernel(
    x_ptr, weight_ptr, table_ptr, lengths_ptr, x_stride, pages, eps,
    RANK: tl.constexpr, SHARED: tl.constexpr, PAGE: tl.constexpr, BLOCK_RANK: tl.constexpr, BLOCK_SHARED: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """One row."""
    let_next(OVERLAP)
    row = tl.program_id(0)
    latent, common = tl.arange(0, BLOCK_RANK), tl.arange(0, BLOCK_SHARED)
    weight = tl.load(weight_ptr + latent, mask=latent < RANK, other=0.0).to(tl.float32)
    wait(OVERLAP)
    x = x_ptr + row.to(tl.int64) * x_stride
    normed = tl.load(x + latent, mask=latent < RANK, other=0.0).to(tl.float32)
    shared = tl.load(x + RANK + common, mask=common < SHARED, other=0.0)
    place = tl.load(lengths_ptr + row) - 1
    page = tl.load(table_ptr + row.to(tl.int64) * pages + place // PAGE)
    normed *= tl.rsqrt(tl.sum(normed * normed, 0) / RANK + eps) * weight
    away = (page - x_ptr.to(tl.int64)) // (x_ptr.dtype.element_ty.primitive_bitwidth // 8)
    out = x_ptr + away + (place % PAGE).to(tl.int64) * (RANK + SHARED)
    tl.store(out + latent, normed.to(x_ptr.dtype.element_ty), mask=latent < RANK)
    tl.store(out + RANK + common, shared, mask=common < SHARED)
