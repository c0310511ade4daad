"""MLA prefill's attention with its warps told apart (Gluon): `mla_prefill_triton.attend` at the 48B's shape.

One warp copies keys and values ahead (TMA into two stages); two warpgroups multiply, 64 queries each. A warpgroup
starts the next block's scores before it adds up the last block's values, and does its exponentials while the tensor
cores work on the values, its own and the other's (Shah et al., 2024, FlashAttention-3, arXiv 2407.08608, algorithm
2). Triton itself does not divide warps on Hopper: its pass fails on this loop with 4 warps and ignores 8 (3.6, 3.9).

Only for bfloat16 heads of 128 + 64 and 128, on Hopper. Not interpreted: Triton's interpreter does not know Gluon.
"""
# mypy: disallow-untyped-defs=False

import torch
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from kernels.memory_triton import MATRIX, copy_tile

NOPE, SHARED, VALUE = 128, 64, 128
BLOCK_N, STAGES = 128, 2
"""48 KiB of queries and two stages of 80 KiB."""


def fits(q: Tensor, kv: Tensor, nope: int) -> bool:
    """Whether these are the shapes this kernel is made for."""
    return q.dtype == torch.bfloat16 and (nope, q.shape[2], kv.shape[2]) == (NOPE, NOPE + SHARED, NOPE + VALUE)


def attend(
    q: Tensor, kv: Tensor, latents: Tensor, scale: float, causal: bool, past: tuple[Tensor, Tensor] | None, o: Tensor,
    lse: Tensor,
) -> None:  # fmt: skip
    """`mla_prefill_triton.attend` for shapes that `fits`, into o [H, T, V] and lse [H, T]."""
    heads, tokens, width = q.shape
    rows = q.transpose(0, 1).reshape(tokens, heads * width)
    flat = kv.flatten(1)

    def blocks(tensor: Tensor, height: int, columns: int) -> TensorDescriptor:
        return TensorDescriptor.from_tensor(tensor, [height, columns], MATRIX)

    o_past, lse_past = past or (o, lse)
    attend_kernel[(-(-tokens // 128), heads)](
        blocks(rows, 64, NOPE), blocks(rows, 64, SHARED),
        blocks(flat, BLOCK_N, NOPE), blocks(flat, BLOCK_N, VALUE), blocks(latents, BLOCK_N, SHARED),
        o, o.stride(0), o.stride(1), lse,
        o_past, o_past.stride(0), o_past.stride(1), lse_past, lse_past.stride(0), lse_past.stride(1),
        tokens, kv.shape[0], latents.shape[1] - SHARED, scale * 1.4426950408889634,
        NOPE=NOPE, SHARED=SHARED, VALUE=VALUE, PAST=past is not None, CAUSAL=causal,
        BLOCK_N=BLOCK_N, STAGES=STAGES, num_warps=4,
    )  # fmt: skip


@gluon.jit
def _load(
    k_desc, v_desc, shared_desc, k_bufs, common_bufs, v_bufs, k_full, v_full, k_free, v_free, blocks, column, rank,
    NOPE: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """The copying warp: every block's keys, then its values, into the stage that both warpgroups have left."""
    for n in range(blocks):
        stage, phase = n % STAGES, (n // STAGES) & 1
        mbarrier.wait(k_free.index(stage), phase ^ 1)
        mbarrier.expect(k_full.index(stage), k_desc.block_type.nbytes + shared_desc.block_type.nbytes)
        copy_tile(k_desc, [n * BLOCK_N, column], k_full.index(stage), k_bufs.index(stage))
        copy_tile(shared_desc, [n * BLOCK_N, rank], k_full.index(stage), common_bufs.index(stage))
        mbarrier.wait(v_free.index(stage), phase ^ 1)
        mbarrier.expect(v_full.index(stage), v_desc.block_type.nbytes)
        copy_tile(v_desc, [n * BLOCK_N, column + NOPE], v_full.index(stage), v_bufs.index(stage))


@gluon.jit
def _softmax(s, n, whole, first, keys, top, total, scale, CAUSAL: gl.constexpr, BLOCK_N: gl.constexpr):
    """Block n's scores into p, with the new maximum and sum, and the factor by which older sums shrink."""
    if n >= whole:
        row = gl.arange(0, 64, gl.SliceLayout(1, s.type.layout))
        at = n * BLOCK_N + gl.arange(0, BLOCK_N, gl.SliceLayout(0, s.type.layout))
        s = gl.where((at < keys)[None, :], s, float("-inf"))
        if CAUSAL:
            s = gl.where(at[None, :] <= (first + row)[:, None], s, float("-inf"))
    higher = gl.maximum(top, gl.max(s, 1) * scale)
    p = gl.exp2(s * scale - higher[:, None])
    shrink = gl.exp2(top - higher)
    return p, higher, total * shrink + gl.sum(p, 1), shrink


@gluon.jit
def _half(
    q, q_common, k_bufs, common_bufs, v_bufs, k_full, v_full, k_free, v_free,
    o_ptr, o_head, o_token, lse_ptr, past_ptr, past_head, past_token, past_lse_ptr, past_lse_head, past_lse_token,
    blocks, start, tokens, keys, head, scale,
    PAST: gl.constexpr, CAUSAL: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr, VALUE: gl.constexpr,
):  # fmt: skip
    """A warpgroup: 64 queries from `start` through all blocks."""
    s_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    o_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, VALUE, 16])
    p_layout: gl.constexpr = gl.DotOperandLayout(0, o_layout, 2)
    by_row: gl.constexpr = gl.SliceLayout(1, o_layout)
    zero = gl.zeros([64, BLOCK_N], gl.float32, s_layout)
    acc = gl.zeros([64, VALUE], gl.float32, o_layout)
    top = gl.full([64], float("-inf"), gl.float32, gl.SliceLayout(1, s_layout))
    total = gl.full([64], 0.0, gl.float32, gl.SliceLayout(1, s_layout))
    first = keys - tokens + start
    whole = keys // BLOCK_N
    if CAUSAL:
        whole = gl.minimum(first + 1, keys) // BLOCK_N

    mbarrier.wait(k_full.index(0), 0)
    s = warpgroup_mma(q, k_bufs.index(0).permute((1, 0)), zero, use_acc=False, is_async=True)
    s = warpgroup_mma(q_common, common_bufs.index(0).permute((1, 0)), s, is_async=True)
    s = warpgroup_mma_wait(0, deps=[s])
    mbarrier.arrive(k_free.index(0), count=1)
    p, top, total, shrink = _softmax(s, 0, whole, first, keys, top, total, scale, CAUSAL, BLOCK_N)
    p = gl.convert_layout(p.to(gl.bfloat16), p_layout)
    for n in range(1, blocks):
        stage, phase = n % STAGES, (n // STAGES) & 1
        before, phase_before = (n - 1) % STAGES, ((n - 1) // STAGES) & 1
        mbarrier.wait(k_full.index(stage), phase)
        s = warpgroup_mma(q, k_bufs.index(stage).permute((1, 0)), zero, use_acc=False, is_async=True)
        s = warpgroup_mma(q_common, common_bufs.index(stage).permute((1, 0)), s, is_async=True)
        mbarrier.wait(v_full.index(before), phase_before)
        acc = warpgroup_mma(p, v_bufs.index(before), acc, is_async=True)
        s = warpgroup_mma_wait(1, deps=[s])
        mbarrier.arrive(k_free.index(stage), count=1)
        p_next, top, total, shrink = _softmax(s, n, whole, first, keys, top, total, scale, CAUSAL, BLOCK_N)
        acc = warpgroup_mma_wait(0, deps=[acc])
        mbarrier.arrive(v_free.index(before), count=1)
        acc = acc * gl.convert_layout(shrink, by_row)[:, None]
        p = gl.convert_layout(p_next.to(gl.bfloat16), p_layout)
    last, phase_last = (blocks - 1) % STAGES, ((blocks - 1) // STAGES) & 1
    mbarrier.wait(v_full.index(last), phase_last)
    acc = warpgroup_mma(p, v_bufs.index(last), acc, is_async=True)
    acc = warpgroup_mma_wait(0, deps=[acc])

    t = start + gl.arange(0, 64, by_row)
    value = gl.arange(0, VALUE, gl.SliceLayout(0, o_layout))[None, :]
    is_row = t < tokens
    total, top = gl.convert_layout(total, by_row), gl.convert_layout(top, by_row)
    acc = acc / total[:, None]
    lse = (top + gl.log2(total)) * 0.6931471805599453
    if PAST:
        lse_past = gl.load(past_lse_ptr + head * past_lse_head + t * past_lse_token, mask=is_row, other=0.0)
        past_rows = past_ptr + head * past_head + t.to(gl.int64)[:, None] * past_token
        o_past = gl.load(past_rows + value, mask=is_row[:, None], other=0.0)
        high = gl.maximum(lse, lse_past)
        both = high + gl.log(gl.exp(lse - high) + gl.exp(lse_past - high))
        acc = acc * gl.exp(lse - both)[:, None] + o_past * gl.exp(lse_past - both)[:, None]
        lse = both
    gl.store(lse_ptr + head * tokens + t, lse, mask=is_row)
    out = o_ptr + head * o_head + t.to(gl.int64)[:, None] * o_token + value
    gl.store(out, acc.to(o_ptr.dtype.element_ty), mask=is_row[:, None])


@gluon.jit
def attend_kernel(
    q_desc, q_common_desc, k_desc, v_desc, shared_desc, o_ptr, o_head, o_token, lse_ptr,
    past_ptr, past_head, past_token, past_lse_ptr, past_lse_head, past_lse_token, tokens, keys, rank, scale,
    NOPE: gl.constexpr, SHARED: gl.constexpr, VALUE: gl.constexpr, PAST: gl.constexpr, CAUSAL: gl.constexpr,
    BLOCK_N: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """128 queries of one head. Later blocks, which see more keys, start first."""
    head = gl.program_id(1)
    start = (gl.num_programs(0) - 1 - gl.program_id(0)) * 128
    q_bufs = gl.allocate_shared_memory(gl.bfloat16, [2, 64, NOPE], q_desc.layout)
    q_commons = gl.allocate_shared_memory(gl.bfloat16, [2, 64, SHARED], q_common_desc.layout)
    k_bufs = gl.allocate_shared_memory(gl.bfloat16, [STAGES, BLOCK_N, NOPE], k_desc.layout)
    common_bufs = gl.allocate_shared_memory(gl.bfloat16, [STAGES, BLOCK_N, SHARED], shared_desc.layout)
    v_bufs = gl.allocate_shared_memory(gl.bfloat16, [STAGES, BLOCK_N, VALUE], v_desc.layout)
    k_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    v_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    k_free = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    v_free = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    q_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    for stage in gl.static_range(STAGES):
        mbarrier.init(k_full.index(stage), count=1)
        mbarrier.init(v_full.index(stage), count=1)
        mbarrier.init(k_free.index(stage), count=2)
        mbarrier.init(v_free.index(stage), count=2)
    mbarrier.init(q_full, count=1)
    fence_async_shared()
    q_column = head * (NOPE + SHARED)
    mbarrier.expect(q_full, 2 * (q_desc.block_type.nbytes + q_common_desc.block_type.nbytes))
    for half in gl.static_range(2):
        copy_tile(q_desc, [start + 64 * half, q_column], q_full, q_bufs.index(half))
        copy_tile(
            q_common_desc, [start + 64 * half, q_column + NOPE], q_full, q_commons.index(half)
        )
    mbarrier.wait(q_full, 0)

    end = keys
    if CAUSAL:
        end = gl.minimum(keys, keys - tokens + start + 128)
    blocks = gl.cdiv(end, BLOCK_N)
    column = head * (NOPE + VALUE)
    gl.warp_specialize([
        (_half, (
            q_bufs.index(0), q_commons.index(0), k_bufs, common_bufs, v_bufs, k_full, v_full, k_free, v_free,
            o_ptr, o_head, o_token, lse_ptr,
            past_ptr, past_head, past_token, past_lse_ptr, past_lse_head, past_lse_token,
            blocks, start, tokens, keys, head, scale, PAST, CAUSAL, BLOCK_N, STAGES, VALUE,
        )),
        (_half, (
            q_bufs.index(1), q_commons.index(1), k_bufs, common_bufs, v_bufs, k_full, v_full, k_free, v_free,
            o_ptr, o_head, o_token, lse_ptr,
            past_ptr, past_head, past_token, past_lse_ptr, past_lse_head, past_lse_token,
            blocks, start + 64, tokens, keys, head, scale, PAST, CAUSAL, BLOCK_N, STAGES, VALUE,
        )),
        (_load, (
            k_desc, v_desc, shared_desc, k_bufs, common_bufs, v_bufs, k_full, v_full, k_free, v_free,
            blocks, column, rank, NOPE, BLOCK_N, STAGES,
        )),
    ], [4, 1], [240, 24])  # fmt: skip
