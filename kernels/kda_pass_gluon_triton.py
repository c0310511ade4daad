"""`kda_pass_triton.pass_kernel` for Hopper with every layout named (Gluon): the state stays in registers.

It is carried transposed, S^T [64 columns of V, K], as a product's accumulator; rounded, the same registers are the left
operand of the next products, so nothing but the copied tiles passes through shared memory:

    new^T = values^T - S^T keys^T     o^T = S^T read^T + new^T attention^T     S^T <- S^T total + new^T write

One warp copies the tiles ahead (TMA), four multiply.

Not interpreted: Triton's interpreter does not know Gluon. Tests run its lines on PyTorch tensors.
"""
# mypy: disallow-untyped-defs=False

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

CHUNK, SLICE, STAGES = 64, 64, 3
"""Tokens, columns of the state in one program, and chunks on their way at once: 192 KiB at K = 128."""


def carry(
    chunks: list[Tensor], bounds: Tensor, slots: Tensor, starts: Tensor, o: Tensor, end: Tensor, saved: Tensor,
    each: int, segments: int,
) -> None:  # fmt: skip
    """`pass_kernel` over starts [B, segments, H, K, V], or [B, H, K, V] for one segment."""
    values, keys, read, write, attention, total = chunks
    heads, width, columns = starts.shape[-3:]

    def tiles(x: Tensor, across: int) -> TensorDescriptor:
        return TensorDescriptor.from_tensor(x.view(-1, x.shape[-1]), [CHUNK, across], MATRIX)

    pass_kernel[(end.shape[0] * segments, heads, columns // SLICE)](
        tiles(values, SLICE), tiles(keys, width), tiles(read, width), tiles(write, width), tiles(attention, CHUNK),
        total, bounds, slots, starts, o, end, saved, each, segments, saved.shape[1], heads,
        K=width, V=columns, STAGES=STAGES, num_warps=4,
    )  # fmt: skip


@gluon.jit
def _copy(
    values_desc, keys_desc, read_desc, write_desc, attention_desc, values, keys, read, write, attention, arrived, left,
    first, last, h, H, column, STAGES: gl.constexpr,
):  # fmt: skip
    """The copying warp: every chunk's tiles into the stage that the products have left."""
    size: gl.constexpr = (
        values_desc.block_type.nbytes + keys_desc.block_type.nbytes + read_desc.block_type.nbytes
        + write_desc.block_type.nbytes + attention_desc.block_type.nbytes
    )  # fmt: skip
    for n in range(first, last):
        stage, phase = (n - first) % STAGES, ((n - first) // STAGES) & 1
        mbarrier.wait(left.index(stage), phase ^ 1)
        bar = arrived.index(stage)
        row = (n * H + h) * 64
        mbarrier.expect(bar, size)
        copy_tile(keys_desc, [row, 0], bar, keys.index(stage))
        copy_tile(values_desc, [row, column], bar, values.index(stage))
        copy_tile(write_desc, [row, 0], bar, write.index(stage))
        copy_tile(read_desc, [row, 0], bar, read.index(stage))
        copy_tile(attention_desc, [row, 0], bar, attention.index(stage))


@gluon.jit
def _carry(
    values, keys, read, write, attention, arrived, left, total_tile, out_tile,
    total_ptr, bounds_ptr, slots_ptr, start_ptr, out_ptr, end_ptr, saved_ptr,
    first, last, place, sequence, is_last, slots, h, H, column,
    K: gl.constexpr, V: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """The warpgroup that multiplies."""
    C: gl.constexpr = 64
    BY_KEY: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, K, 16])
    BY_TOKEN: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, C, 16])
    OUT: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    LINE: gl.constexpr = gl.BlockedLayout([1], [32], [4], [0])
    v_row = gl.arange(0, 64, gl.SliceLayout(1, BY_KEY))[:, None]
    key = gl.arange(0, K, gl.SliceLayout(0, BY_KEY))[None, :]
    at_state = key * V + column + v_row
    state = gl.load(start_ptr + (place * H + h).to(gl.int64) * K * V + at_state)
    token = gl.arange(0, C, gl.SliceLayout(1, OUT))
    at_out = h * V + column + gl.arange(0, 64, gl.SliceLayout(0, OUT))[None, :]
    none = gl.zeros([64, C], gl.float32, BY_TOKEN)
    line = gl.arange(0, K, LINE)
    total = gl.load(total_ptr + (first * H + h) * K + line)
    begin, stop, slot = gl.load(bounds_ptr + 2 * first), gl.load(bounds_ptr + 2 * first + 1), gl.load(slots_ptr + first)
    for n in range(first, last):
        stage, phase = (n - first) % STAGES, ((n - first) // STAGES) & 1
        total_tile.store(total)
        following = gl.minimum(n + 1, last - 1)
        total = gl.load(total_ptr + (following * H + h) * K + line)
        next_begin, next_stop = gl.load(bounds_ptr + 2 * following), gl.load(bounds_ptr + 2 * following + 1)
        next_slot = gl.load(slots_ptr + following)
        rounded = gl.convert_layout(state.to(gl.bfloat16), gl.DotOperandLayout(0, BY_TOKEN, 2))
        mbarrier.wait(arrived.index(stage), phase)
        taken = warpgroup_mma(rounded, keys.index(stage).permute((1, 0)), none, use_acc=False, is_async=True)
        given = values.index(stage).permute((1, 0)).load(BY_TOKEN).to(gl.float32)
        state = state * total_tile.load(gl.SliceLayout(0, BY_KEY))[None, :]
        taken = warpgroup_mma_wait(0, deps=[taken])
        new = (given - taken).to(gl.bfloat16)
        state = warpgroup_mma(gl.convert_layout(new, gl.DotOperandLayout(0, BY_KEY, 2)), write.index(stage), state,
                              is_async=True)  # fmt: skip
        out = warpgroup_mma(rounded, read.index(stage).permute((1, 0)), none, use_acc=False, is_async=True)
        out = warpgroup_mma(gl.convert_layout(new, gl.DotOperandLayout(0, BY_TOKEN, 2)),
                            attention.index(stage).permute((1, 0)), out, is_async=True)  # fmt: skip
        state = warpgroup_mma_wait(2, deps=[state])
        out = warpgroup_mma_wait(0, deps=[out])
        mbarrier.arrive(left.index(stage), count=1)
        out_tile.store(out.to(out_ptr.dtype.element_ty).permute(1, 0))
        rows = out_tile.load(OUT)
        where = (begin + token).to(gl.int64)[:, None] * (H * V)
        gl.store(out_ptr + where + at_out, rows, mask=(begin + token < stop)[:, None])
        if slot >= 0:
            gl.store(saved_ptr + ((sequence * slots + slot) * H + h).to(gl.int64) * K * V + at_state, state)
        begin, stop, slot = next_begin, next_stop, next_slot
    if is_last:
        gl.store(end_ptr + (sequence * H + h).to(gl.int64) * K * V + at_state, state)


@gluon.jit
def pass_kernel(
    values_desc, keys_desc, read_desc, write_desc, attention_desc, total_ptr, bounds_ptr, slots_ptr,
    start_ptr, out_ptr, end_ptr, saved_ptr, chunks, segments, slots, H,
    K: gl.constexpr, V: gl.constexpr, STAGES: gl.constexpr,
):  # fmt: skip
    """Programs and arguments as of `kda_pass_triton.pass_kernel`, with slices of 64 columns."""
    C: gl.constexpr = 64
    values = gl.allocate_shared_memory(gl.bfloat16, [STAGES, C, 64], values_desc.layout)
    keys = gl.allocate_shared_memory(gl.bfloat16, [STAGES, C, K], keys_desc.layout)
    read = gl.allocate_shared_memory(gl.bfloat16, [STAGES, C, K], read_desc.layout)
    write = gl.allocate_shared_memory(gl.bfloat16, [STAGES, C, K], write_desc.layout)
    attention = gl.allocate_shared_memory(gl.bfloat16, [STAGES, C, C], attention_desc.layout)
    arrived = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    left = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    total_tile = gl.allocate_shared_memory(gl.float32, [K], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    out_tile = gl.allocate_shared_memory(out_ptr.dtype.element_ty, [C, 64], gl.SwizzledSharedLayout(8, 1, 8, [1, 0]))
    for ahead in gl.static_range(STAGES):
        mbarrier.init(arrived.index(ahead), count=1)
        mbarrier.init(left.index(ahead), count=1)
    fence_async_shared()
    sequence, segment = gl.program_id(0) // segments, gl.program_id(0) % segments
    h, column = gl.program_id(1), gl.program_id(2) * 64
    first = sequence * chunks + segment * chunks // segments
    last = sequence * chunks + (segment + 1) * chunks // segments
    gl.warp_specialize([
        (_carry, (
            values, keys, read, write, attention, arrived, left, total_tile, out_tile,
            total_ptr, bounds_ptr, slots_ptr, start_ptr, out_ptr, end_ptr, saved_ptr,
            first, last, gl.program_id(0), sequence, segment == segments - 1, slots, h, H, column, K, V, STAGES,
        )),
        (_copy, (
            values_desc, keys_desc, read_desc, write_desc, attention_desc, values, keys, read, write, attention,
            arrived, left, first, last, h, H, column, STAGES,
        )),
    ], [1], [24])  # fmt: skip
