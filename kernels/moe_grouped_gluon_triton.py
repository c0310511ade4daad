"""`moe_grouped_triton.grouped` with its warps told apart (Gluon): bf16 and fp8 experts at the 48B's shape, on Hopper.

One warp copies ahead (TMA into four stages of 48 KiB), into the next tile too while this one's results are stored; two
warpgroups multiply, 64 rows each, times 256 columns: 128 gates and their 128 ups, or 256 columns of `down`. Rows lie
in the order of their experts, an expert's from a multiple of 64 on (`moe_rows_triton`), so tiles are stored whole (TMA)
and a warpgroup that has no row of its expert only lets the stages go by. The shared expert is one more group of rows.

fp8: no second sum beside the accumulator. It is kept in units of the scale of the block that comes next (a row's scale
times a weight block's): behind block k's products it is multiplied by scale(k) / scale(k + 1), one half of the columns
while the tensor cores multiply the other.

Not interpreted: Triton's interpreter does not know Gluon. Tests run its lines on PyTorch tensors.
"""
# mypy: disallow-untyped-defs=False

import torch
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    async_copy,
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from kernels import quant
from kernels.launch_triton import multiprocessors
from kernels.memory_triton import MATRIX, copy_tile
from kernels.moe_route_triton import Order, sort
from kernels.moe_rows_triton import spread
from kernels.quant import Fp8, Weights

WIDTH, INNER = 2304, 1024

ROWS, HALF = 128, 64
"""Rows of a tile and of a warpgroup."""

GATHER, LAG = True, 2
STAGES, GROUP = 4, 4
"""Four tiles of rows share each strip of weights while it is in the L2 cache."""

SUMS = gl.constexpr(gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 128, 32]))
"""Which thread holds what of 64 rows and 128 columns of fp8's products."""

BYTES = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=8, rank=2)


def fits(x: Tensor, gate_up: Weights, down: Weights, shared: tuple[Weights, Weights]) -> bool:
    """Whether these are the shapes this kernel is made for: the 48B's, in bf16 or fp8."""
    forms = {type(weight) for weight in (gate_up, down, *shared)}
    shapes = [quant.shape(weight)[-2:] for weight in (gate_up, down, *shared)]
    return (
        x.dtype == torch.bfloat16 and len(forms) == 1 and isinstance(down, Tensor | Fp8)
        and shapes == 2 * [(2 * INNER, WIDTH), (WIDTH, INNER)]
    )  # fmt: skip


def results(
    x: Tensor, chosen: Tensor, gate_up: Weights, down: Weights, shared: tuple[Weights, Weights]
) -> tuple[Tensor, Tensor]:
    """The results of every pair's expert, not yet weighted: x [T, D], chosen [T, top_k] -> (out, place).

    Row t of out is the shared expert's of token t, row place[top_k * t + k] that of its k-th chosen expert.
    """
    fp8 = isinstance(down, Fp8)
    order = sort(chosen, quant.shape(down)[0], ROWS, apart=HALF, everyone=len(x))
    places, inner = len(order.pair), quant.shape(down)[-1]
    rows, scales = (x.contiguous(), x) if GATHER and not fp8 else spread(x, order.place, places, fp8)
    act = torch.empty(places, inner, dtype=rows.dtype, device=x.device)
    act_scales = torch.empty(inner // quant.BLOCK if fp8 else 0, places, dtype=torch.float32, device=x.device)
    out = torch.empty(places, x.shape[1], dtype=x.dtype, device=x.device)
    _products("up", rows, scales, order, gate_up, shared[0], act, act_scales, len(x))
    _products("down", act, act_scales, order, down, shared[1], out, act_scales, len(x))
    return out, order.place


def _products(
    step: str, rows: Tensor, scales: Tensor, order: Order, weight: Weights, shared: Weights, out: Tensor,
    out_scales: Tensor, tokens: int,
) -> None:  # fmt: skip
    """One of a row's two products, `up` with SwiGLU or `down`: rows [places, I] -> out [places, O].

    weight [E, 2O or O, I] and shared, the same of one expert. scales and out_scales float32 [I/128, places] are read
    and written if the weights are fp8.
    """
    values, own = (quant.parts(matrix)[0] for matrix in (weight, shared))
    scale, own_scale = (quant.parts(matrix)[-1] for matrix in (weight, shared))
    fp8, up = isinstance(weight, Fp8), step == "up"
    depth, columns = rows.shape[1], out.shape[1]
    across = 128 if fp8 else 64

    def tiles(x: Tensor, height: int, columns: int) -> TensorDescriptor:
        return TensorDescriptor.from_tensor(x, [height, columns], MATRIX if x.element_size() == 2 else BYTES)

    strips, count = columns // (128 if up else 256), order.tile_start.shape[0]
    products_kernel[(min(count * strips, multiprocessors(rows.device)),)](
        tiles(rows, ROWS, across), rows, order.pair, tiles(values.flatten(0, 1), 128, across), tiles(own, 128, across),
        tiles(out, HALF, 128), scales, scale, own_scale, out_scales,
        order.tile_expert, order.tile_start, order.tile_end,
        count, strips, values.shape[0], values.shape[1], out.shape[0], columns if up else 128,
        STEPS=depth // across, UP=up, FP8=fp8, STAGES=STAGES, GROUP=GROUP, GATHER=GATHER and up and not fp8,
        TOP_K=len(order.place) // tokens, LAG=min(LAG, depth // across - 1), num_warps=4,
    )  # fmt: skip


@gluon.jit
def silu(x):
    """x / (1 + e^-x) in two instructions of the special units."""
    return gl.inline_asm_elementwise(
        "{ .reg .f32 t; mul.f32 t, $1, 0fBFB8AA3B; ex2.approx.ftz.f32 t, t; add.f32 t, t, 0f3F800000; "
        "rcp.approx.ftz.f32 t, t; mul.f32 $0, $1, t; }",
        "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1,
    )  # fmt: skip


@gluon.jit
def _tile(number, expert_ptr, start_ptr, end_ptr, count, strips, GROUP: gl.constexpr):
    """A tile's expert, first row and end of the expert's rows, and strip: GROUP tiles times all strips in a row."""
    group = number // (GROUP * strips)
    high = gl.minimum(GROUP, count - group * GROUP)
    within = number - group * GROUP * strips
    tile = group * GROUP + within % high
    return gl.load(expert_ptr + tile), gl.load(start_ptr + tile), gl.load(end_ptr + tile), within // high


@gluon.jit
def _copy_operands(desc, row, second, column, bar, b):
    """A strip's two pieces of weights."""
    copy_tile(desc, [row, column], bar, b.slice(0, 128))
    copy_tile(desc, [row + second, column], bar, b.slice(128, 128))


@gluon.jit
def _copy(
    a_desc, b_desc, shared_desc, expert_ptr, start_ptr, end_ptr, a_bufs, b_bufs, full, free,
    count, strips, experts, height, second, STEPS: gl.constexpr, UP: gl.constexpr, GROUP: gl.constexpr,
):  # fmt: skip
    """The copying warp: every step's operands of every tile, each into the stage that both warpgroups have left."""
    STAGES: gl.constexpr = a_bufs.shape[0]
    WIDTH: gl.constexpr = a_bufs.shape[2]
    n = 0
    for number in range(gl.program_id(0), count * strips, gl.num_programs(0)):
        expert, start, end, strip = _tile(number, expert_ptr, start_ptr, end_ptr, count, strips, GROUP)
        if start < end:
            first = strip * (128 if UP else 256)
            for k in range(STEPS):
                stage, phase = n % STAGES, (n // STAGES) & 1
                bar, b = full.index(stage), b_bufs.index(stage)
                mbarrier.wait(free.index(stage), phase ^ 1)
                mbarrier.expect(bar, a_desc.block_type.nbytes + 2 * b_desc.block_type.nbytes)
                copy_tile(a_desc, [start, k * WIDTH], bar, a_bufs.index(stage))
                if expert < experts:
                    _copy_operands(b_desc, expert * height + first, second, k * WIDTH, bar, b)
                else:
                    _copy_operands(shared_desc, first, second, k * WIDTH, bar, b)
                n += 1


@gluon.jit
def _gather(
    x_ptr, pair_ptr, b_desc, shared_desc, expert_ptr, start_ptr, end_ptr, a_bufs, b_bufs, full, free,
    count, strips, experts, height, second, STEPS: gl.constexpr, GROUP: gl.constexpr, TOP_K: gl.constexpr,
):  # fmt: skip
    """Four copying warps: what `_copy` does, of rows that lie where their tokens are."""
    STAGES: gl.constexpr = a_bufs.shape[0]
    WIDTH: gl.constexpr = a_bufs.shape[2]
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    row = gl.arange(0, 128, gl.SliceLayout(1, layout))
    column = gl.arange(0, WIDTH, gl.SliceLayout(0, layout))
    n = 0
    for number in range(gl.program_id(0), count * strips, gl.num_programs(0)):
        expert, start, end, strip = _tile(number, expert_ptr, start_ptr, end_ptr, count, strips, GROUP)
        if start < end:
            place = gl.minimum(start + row, end - 1)
            token = gl.where(expert < experts, gl.load(pair_ptr + place) // TOP_K, place)
            source = x_ptr + token[:, None] * (STEPS * WIDTH) + column[None, :]
            first = strip * 128
            for k in range(STEPS):
                stage, phase = n % STAGES, (n // STAGES) & 1
                bar, b = full.index(stage), b_bufs.index(stage)
                mbarrier.wait(free.index(stage), phase ^ 1)
                mbarrier.expect(bar, 2 * b_desc.block_type.nbytes)
                if expert < experts:
                    _copy_operands(b_desc, expert * height + first, second, k * WIDTH, bar, b)
                else:
                    _copy_operands(shared_desc, first, second, k * WIDTH, bar, b)
                async_copy.async_copy_global_to_shared(a_bufs.index(stage), source)
                async_copy.mbarrier_arrive(bar, increment_count=False)
                source += WIDTH
                n += 1


@gluon.jit
def _sums(a_bufs, b_bufs, full, free, n, PART: gl.constexpr, STEPS: gl.constexpr, GATHER: gl.constexpr):
    """A warpgroup's 64 rows times 256 columns, as two halves of the columns."""
    STAGES: gl.constexpr = a_bufs.shape[0]
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 256, 16])
    acc = gl.zeros([64, 256], gl.float32, layout)
    for k in range(STEPS):
        stage, phase = n % STAGES, (n // STAGES) & 1
        mbarrier.wait(full.index(stage), phase)
        if GATHER:
            fence_async_shared()
        a, b = a_bufs.index(stage).slice(64 * PART, 64), b_bufs.index(stage).permute((1, 0))
        acc = warpgroup_mma(a, b, acc, is_async=True)
        acc = warpgroup_mma_wait(1, deps=[acc])
        mbarrier.arrive(free.index((n + STAGES - 1) % STAGES), count=1, pred=k > 0)
        n += 1
    acc = warpgroup_mma_wait(0, deps=[acc])
    mbarrier.arrive(free.index((n + STAGES - 1) % STAGES), count=1)
    left, right = acc.reshape([64, 2, 128]).permute((0, 2, 1)).split()
    return left, right


@gluon.jit
def _scaled_sums(
    a_bufs, b_bufs, full, free, scale_ptr, left_ptr, right_ptr, n, places, PART: gl.constexpr, STEPS: gl.constexpr
):  # fmt: skip
    """The same of fp8 numbers: scale_ptr at the rows' scales, left_ptr and right_ptr at those of the weights."""
    STAGES: gl.constexpr = a_bufs.shape[0]
    by_row: gl.constexpr = gl.SliceLayout(1, SUMS)
    row = gl.arange(0, 64, by_row)
    left, right = gl.zeros([64, 128], gl.float32, SUMS), gl.zeros([64, 128], gl.float32, SUMS)
    scale, left_scale, right_scale = _scales(scale_ptr + row, left_ptr, right_ptr, True)
    left_unit, right_unit = scale * left_scale, scale * right_scale
    scale, left_scale, right_scale = _scales(scale_ptr + places + row, left_ptr + 1, right_ptr + 1, STEPS > 1)
    for k in range(STEPS):
        stage, phase = n % STAGES, (n // STAGES) & 1
        next_left, next_right = scale * left_scale, scale * right_scale
        shrink_left, shrink_right = left_unit / next_left, right_unit / next_right
        left_unit, right_unit = next_left, next_right
        at = scale_ptr + (k + 2) * places + row  # for the next step: what is asked for here is not waited for here
        scale, left_scale, right_scale = _scales(at, left_ptr + k + 2, right_ptr + k + 2, k + 2 < STEPS)
        a, b = a_bufs.index(stage).slice(64 * PART, 64), b_bufs.index(stage)
        mbarrier.wait(full.index(stage), phase)
        left = warpgroup_mma(a, b.slice(0, 128).permute((1, 0)), left, is_async=True)
        right = warpgroup_mma(a, b.slice(128, 128).permute((1, 0)), right, is_async=True)
        left = warpgroup_mma_wait(1, deps=[left])
        left = left * shrink_left[:, None]
        right = warpgroup_mma_wait(0, deps=[right])
        mbarrier.arrive(free.index(stage), count=1)
        right = right * shrink_right[:, None]
        n += 1
    return left, right


@gluon.jit
def _scales(rows, left_ptr, right_ptr, there):
    """A block's scales of rows and of both weight blocks; behind the last block 1. None is zero (`quant`)."""
    scale = gl.load(rows, mask=there, other=1.0)
    return scale, gl.load(left_ptr, mask=there, other=1.0), gl.load(right_ptr, mask=there, other=1.0)


@gluon.jit
def _store(desc, row, column, x, buf):
    """64 x 128 numbers by way of shared memory, once those before them have left it."""
    tma.store_wait(0)
    buf.store(x.to(buf.dtype))
    fence_async_shared()
    tma.async_copy_shared_to_global(desc, [row, column], buf)


@gluon.jit
def _multiply(
    out_desc, a_scale_ptr, b_scale_ptr, shared_scale_ptr, out_scale_ptr, expert_ptr, start_ptr, end_ptr,
    a_bufs, b_bufs, out_buf, full, free, count, strips, experts, height, places, second,
    PART: gl.constexpr, STEPS: gl.constexpr, UP: gl.constexpr, FP8: gl.constexpr, GROUP: gl.constexpr,
    GATHER: gl.constexpr, LAG: gl.constexpr,
):  # fmt: skip
    """A warpgroup: its 64 rows of every tile."""
    STAGES: gl.constexpr = a_bufs.shape[0]
    n, total = 0, count * strips
    number = gl.program_id(0)
    expert, start, end, strip = _tile(number, expert_ptr, start_ptr, end_ptr, count, strips, GROUP)
    if PART * LAG > 0 and start < end:
        mbarrier.wait(full.index(LAG), 0)
    for number in range(gl.program_id(0), total, gl.num_programs(0)):
        following = gl.minimum(number + gl.num_programs(0), total - 1)
        next_expert, next_start, next_end, next_strip = _tile(
            following, expert_ptr, start_ptr, end_ptr, count, strips, GROUP
        )
        first = start + 64 * PART
        if first < end:
            if FP8:
                scales = shared_scale_ptr
                if expert < experts:
                    scales = b_scale_ptr + expert * (height // 128) * STEPS
                scales += strip * (1 if UP else 2) * STEPS
                left, right = _scaled_sums(
                    a_bufs, b_bufs, full, free, a_scale_ptr + first, scales, scales + second // 128 * STEPS,
                    n, places, PART, STEPS,
                )  # fmt: skip
            else:
                left, right = _sums(a_bufs, b_bufs, full, free, n, PART, STEPS, GATHER)
            if UP:
                y = silu(left) * right
                if FP8:
                    scale = gl.maximum(gl.max(gl.abs(y), 1), 1e-12) / 448.0
                    row = gl.arange(0, 64, gl.SliceLayout(1, SUMS))
                    gl.store(out_scale_ptr + strip * places + first + row, scale)
                    y = y * (1.0 / scale)[:, None]
                _store(out_desc, first, strip * 128, y, out_buf)
            else:
                _store(out_desc, first, strip * 256, left, out_buf)
                _store(out_desc, first, strip * 256 + 128, right, out_buf)
            n += STEPS
        elif start < end:
            for _ in range(STEPS):
                mbarrier.wait(full.index(n % STAGES), (n // STAGES) & 1)
                mbarrier.arrive(free.index(n % STAGES), count=1)
                n += 1
        expert, start, end, strip = next_expert, next_start, next_end, next_strip
    tma.store_wait(0)


@gluon.jit
def products_kernel(
    a_desc, x_ptr, pair_ptr, b_desc, shared_desc, out_desc,
    a_scale_ptr, b_scale_ptr, shared_scale_ptr, out_scale_ptr, expert_ptr, start_ptr, end_ptr,
    count, strips, experts, height, places, second,
    STEPS: gl.constexpr, UP: gl.constexpr, FP8: gl.constexpr, STAGES: gl.constexpr, GROUP: gl.constexpr,
    GATHER: gl.constexpr, TOP_K: gl.constexpr, LAG: gl.constexpr,
):  # fmt: skip
    """Tiles of rows times strips of their expert's weights; with UP, of its gates and of its ups, into SwiGLU.

    height: rows of an expert's matrix. second: how far a strip's other 128 rows of weights lie behind its first.
    """
    WIDTH: gl.constexpr = a_desc.block_type.shape[1]
    a_bufs = gl.allocate_shared_memory(a_desc.dtype, [STAGES, 128, WIDTH], a_desc.layout)
    b_bufs = gl.allocate_shared_memory(a_desc.dtype, [STAGES, 256, WIDTH], a_desc.layout)
    out_bufs = gl.allocate_shared_memory(out_desc.dtype, [2, 64, 128], out_desc.layout)
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for stage in gl.static_range(STAGES):
        mbarrier.init(full.index(stage), count=129 if GATHER else 1)
        mbarrier.init(free.index(stage), count=2)
    fence_async_shared()
    if GATHER:
        gl.warp_specialize([
            (_multiply, (
                out_desc, a_scale_ptr, b_scale_ptr, shared_scale_ptr, out_scale_ptr, expert_ptr, start_ptr, end_ptr,
                a_bufs, b_bufs, out_bufs.index(0), full, free, count, strips, experts, height, places, second,
                0, STEPS, UP, FP8, GROUP, GATHER, LAG,
            )),
            (_multiply, (
                out_desc, a_scale_ptr, b_scale_ptr, shared_scale_ptr, out_scale_ptr, expert_ptr, start_ptr, end_ptr,
                a_bufs, b_bufs, out_bufs.index(1), full, free, count, strips, experts, height, places, second,
                1, STEPS, UP, FP8, GROUP, GATHER, LAG,
            )),
            (_gather, (
                x_ptr, pair_ptr, b_desc, shared_desc, expert_ptr, start_ptr, end_ptr, a_bufs, b_bufs, full, free,
                count, strips, experts, height, second, STEPS, GROUP, TOP_K,
            )),
        ], [4, 4], [232, 40])  # fmt: skip
    else:
        gl.warp_specialize([
            (_multiply, (
                out_desc, a_scale_ptr, b_scale_ptr, shared_scale_ptr, out_scale_ptr, expert_ptr, start_ptr, end_ptr,
                a_bufs, b_bufs, out_bufs.index(0), full, free, count, strips, experts, height, places, second,
                0, STEPS, UP, FP8, GROUP, GATHER, LAG,
            )),
            (_multiply, (
                out_desc, a_scale_ptr, b_scale_ptr, shared_scale_ptr, out_scale_ptr, expert_ptr, start_ptr, end_ptr,
                a_bufs, b_bufs, out_bufs.index(1), full, free, count, strips, experts, height, places, second,
                1, STEPS, UP, FP8, GROUP, GATHER, LAG,
            )),
            (_copy, (
                a_desc, b_desc, shared_desc, expert_ptr, start_ptr, end_ptr, a_bufs, b_bufs, full, free,
                count, strips, experts, height, second, STEPS, UP, GROUP,
            )),
        ], [4, 1], [240, 24])  # fmt: skip
