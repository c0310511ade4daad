"""`moe_grouped_triton.grouped` with its warps told apart (Gluon): bf16 and fp8 experts at the 48B's shape, on Hopper.

Four warps copy ahead into four stages of 48 KiB, into the next tile's too while this one's results are stored: weights
by TMA, tokens from where they lie by cp.async, which can gather. Two warpgroups multiply, 64 rows each, times 256
columns: 128 gates and their 128 ups, or 256 columns of `down`. In between, rows lie in the order of their experts, an
expert's from a multiple of 64 on, so tiles are stored whole (TMA), and a warpgroup that has no row of the tile's expert
only lets its stages go by. What such a tile lacks is not read. The shared expert is one more group of rows.

Tiles are taken in their order by whichever program is done: they take different times, and dealt out beforehand most
programs would wait for the last one. The copying warps take a tile and tell the warpgroups.

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
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from kernels import quant
from kernels.launch_triton import multiprocessors
from kernels.memory_triton import MATRIX, copy_tile
from kernels.moe_grouped_triton import quantized
from kernels.moe_route_triton import Order, sort
from kernels.moe_sums_gluon_triton import BY_ROW, scaled_sums, sums
from kernels.quant import Fp8, Int4, Weights

WIDTH, INNER = 2304, 1024

ROWS, HALF = 128, 64
"""Rows of a tile and of a warpgroup."""

STAGES, GROUP = 4, 4
"""Four tiles of rows share each strip of weights while it is in the L2 cache."""

BYTES = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=8, rank=2)


def fits(x: Tensor, gate_up: Weights, down: Weights, shared: tuple[Weights, Weights]) -> bool:
    """Whether these are the shapes this kernel is made for: the 48B's, in bf16 or fp8."""
    forms = {type(weight) for weight in (gate_up, down, *shared)}
    shapes = [quant.shape(weight)[-2:] for weight in (gate_up, down, *shared)]
    return (
        x.dtype == torch.bfloat16 and len(forms) == 1 and not isinstance(down, Int4)
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
    a, scales = quantized(x) if fp8 else (x.contiguous(), x)
    places, inner = len(order.pair), quant.shape(down)[-1]
    act = torch.empty(places, inner, dtype=a.dtype, device=x.device)
    act_scales = torch.empty(inner // quant.BLOCK, places, dtype=torch.float32, device=x.device) if fp8 else x
    out = torch.empty(places, x.shape[1], dtype=x.dtype, device=x.device)
    products("up", a, scales, order, chosen.shape[1], gate_up, shared[0], act, act_scales)
    products("down", act, act_scales, order, chosen.shape[1], down, shared[1], out, act_scales)
    return out, order.place


def products(
    step: str, a: Tensor, a_scales: Tensor, order: Order, top_k: int, weight: Weights, shared: Weights, out: Tensor,
    out_scales: Tensor,
) -> None:  # fmt: skip
    """`up`, with SwiGLU: tokens a [T, I] -> out [places, O]. `down`: a [places, I] -> out [places, O].

    weight [E, 2O or O, I] and shared, the same of one expert. If they are fp8, so are tokens and what lies in between:
    tokens with scales [T, I/128], the other with scales [I/128, places], which `up` writes.
    """
    values, own = (quant.parts(matrix)[0] for matrix in (weight, shared))
    scale, own_scale = (quant.parts(matrix)[-1] for matrix in (weight, shared))
    up, fp8 = step == "up", isinstance(weight, Fp8)
    depth, columns = a.shape[1], out.shape[1]
    width = 128 if fp8 else 64

    def tiles(x: Tensor, height: int, width: int) -> TensorDescriptor:
        return TensorDescriptor.from_tensor(x, [height, width], MATRIX if x.element_size() == 2 else BYTES)

    strips, count = columns // (128 if up else 256), order.tile_start.shape[0]
    products_kernel[(min(count * strips, multiprocessors(a.device)),)](
        a if up else tiles(a, HALF, width), tiles(values.flatten(0, 1), 128, width), tiles(own, 128, width),
        tiles(out, HALF, 128), a_scales, scale, own_scale, out_scales,
        order.pair, order.tile_expert, order.tile_start, order.tile_end,
        torch.zeros(1, dtype=torch.int32, device=a.device),
        count, strips, values.shape[0], values.shape[1], columns if up else 128, out.shape[0],
        GROUP, UP=up, FP8=fp8, STEPS=depth // width, TOP_K=top_k, STAGES=STAGES, num_warps=4,
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
def _tile(number, order, sizes):
    """A tile's expert, first row, end of the expert's rows, and strip: `together` tiles times all strips in a row."""
    count, strips, together = sizes[0], sizes[1], sizes[6]
    group = number // (together * strips)
    high = gl.minimum(together, count - group * together)
    within = number - group * together * strips
    tile = group * together + within % high
    return gl.load(order[1] + tile), gl.load(order[2] + tile), gl.load(order[3] + tile), within // high


@gluon.jit
def _tokens(row, expert, end, pair_ptr, experts, TOP_K: gl.constexpr):
    """Whose rows these are; of those behind the end, the last one's."""
    place = gl.maximum(gl.minimum(row, end - 1), 0)
    return gl.where(expert < experts, gl.load(pair_ptr + place) // TOP_K, place)


@gluon.jit
def _copy_weights(desc, row, second, column, bar, b):
    """A strip's two pieces."""
    copy_tile(desc, [row, column], bar, b.slice(0, 128))
    copy_tile(desc, [row + second, column], bar, b.slice(128, 128))


@gluon.jit
def _copy(
    a, b_desc, shared_desc, order, sizes, a_bufs, b_bufs, full, free, found, told, heard,
    UP: gl.constexpr, STEPS: gl.constexpr, TOP_K: gl.constexpr,
):  # fmt: skip
    """The copying warps: every step's operands of every tile, each into the stage that both warpgroups have left. They
    also take the tiles: whichever program is done takes the next one."""
    STAGES: gl.constexpr = a_bufs.shape[0]
    HALF: gl.constexpr = a_bufs.shape[1] // 2
    WIDTH: gl.constexpr = a_bufs.shape[2]
    layout: gl.constexpr = gl.BlockedLayout([1, WIDTH // 8], [4, 8], [4, 1], [1, 0])  # 16 bytes a thread
    count, strips, experts, height, second = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    n, turn = 0, 0
    number = gl.program_id(0)
    while number < count * strips:
        _tell(number, turn, found, told, heard)
        expert, start, end, strip = _tile(number, order, sizes)
        if start < end:
            first = strip * (128 if UP else 256)
            if UP:
                row = start + gl.arange(0, 128, gl.SliceLayout(1, layout))
                token = _tokens(row, expert, end, order[0], experts, TOP_K)
                column = gl.arange(0, WIDTH, gl.SliceLayout(0, layout))
                there = (row < end)[:, None]
                source = a + token[:, None] * (STEPS * WIDTH) + column[None, :]
            for k in range(STEPS):
                stage, phase = n % STAGES, (n // STAGES) & 1
                bar, b = full.index(stage), b_bufs.index(stage)
                mbarrier.wait(free.index(stage), phase ^ 1)
                if UP:
                    mbarrier.expect(bar, 2 * b_desc.block_type.nbytes)
                else:
                    rows = a_bufs.index(stage)
                    if start + HALF < end:
                        mbarrier.expect(bar, 2 * a.block_type.nbytes + 2 * b_desc.block_type.nbytes)
                        copy_tile(a, [start + HALF, k * WIDTH], bar, rows.slice(HALF, HALF))
                    else:
                        mbarrier.expect(bar, a.block_type.nbytes + 2 * b_desc.block_type.nbytes)
                    copy_tile(a, [start, k * WIDTH], bar, rows.slice(0, HALF))
                if expert < experts:
                    _copy_weights(b_desc, expert * height + first, second, k * WIDTH, bar, b)
                else:
                    _copy_weights(shared_desc, first, second, k * WIDTH, bar, b)
                if UP:
                    async_copy.async_copy_global_to_shared(a_bufs.index(stage), source, there)
                    async_copy.mbarrier_arrive(bar, increment_count=False)
                    source += WIDTH
                n += 1
        number = gl.num_programs(0) + gl.atomic_add(order[4], 1, sem="relaxed")
        turn += 1
    _tell(number, turn, found, told, heard)


@gluon.jit
def _tell(number, turn, found, told, heard):
    """Both warpgroups of the turn's tile."""
    layout: gl.constexpr = gl.BlockedLayout([1], [32], [4], [0])
    mbarrier.wait(heard.index(turn % 2), ((turn // 2) & 1) ^ 1)
    found.index(turn % 2).store(gl.full([1], number, gl.int32, layout))
    mbarrier.arrive(told.index(turn % 2), count=1)


@gluon.jit
def _hear(turn, found, told, heard):
    """The turn's tile."""
    layout: gl.constexpr = gl.BlockedLayout([1], [32], [4], [0])
    mbarrier.wait(told.index(turn % 2), (turn // 2) & 1)
    number = gl.max(found.index(turn % 2).load(layout), 0)
    mbarrier.arrive(heard.index(turn % 2), count=1)
    return number


@gluon.jit
def _store(desc, row, column, x, buf):
    """64 x 128 numbers by way of shared memory, once those before them have left it."""
    tma.store_wait(0)
    buf.store(x.to(buf.dtype))
    fence_async_shared()
    tma.async_copy_shared_to_global(desc, [row, column], buf)


@gluon.jit
def _multiply(
    out_desc, scales, order, sizes, a_bufs, b_bufs, out_buf, full, free, found, told, heard,
    PART: gl.constexpr, UP: gl.constexpr, FP8: gl.constexpr, STEPS: gl.constexpr, TOP_K: gl.constexpr,
):  # fmt: skip
    """A warpgroup: its 64 rows of every tile."""
    STAGES: gl.constexpr = a_bufs.shape[0]
    count, strips, experts, height, second, places = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    row = 64 * PART + gl.arange(0, 64, BY_ROW)
    n, turn = 0, 0
    number = _hear(0, found, told, heard)
    while number < count * strips:
        expert, start, end, strip = _tile(number, order, sizes)
        if FP8 and UP:
            token = _tokens(start + row, expert, end, order[0], experts, TOP_K)
        first = start + 64 * PART
        if first < end:
            if FP8:
                weights = scales[2]
                if expert < experts:
                    weights = scales[1] + expert * (height // 128) * STEPS
                weights += strip * (1 if UP else 2) * STEPS
                stride = 1 if UP else places
                rows = scales[0] + token * STEPS if UP else scales[0] + start + row
                left, right = scaled_sums(
                    a_bufs, b_bufs, full, free, rows, weights, weights + second // 128 * STEPS, n, stride,
                    PART, UP, STEPS,
                )  # fmt: skip
            else:
                left, right = sums(a_bufs, b_bufs, full, free, n, PART, UP, STEPS)
            if UP:
                y = silu(left) * right
                if FP8:
                    scale = gl.maximum(gl.max(gl.abs(y), 1), 1e-12) / 448.0
                    gl.store(scales[3] + strip * places + start + row, scale)
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
        turn += 1
        number = _hear(turn, found, told, heard)
    tma.store_wait(0)


@gluon.jit
def products_kernel(
    a, b_desc, shared_desc, out_desc, a_scale_ptr, b_scale_ptr, shared_scale_ptr, out_scale_ptr,
    pair_ptr, expert_ptr, start_ptr, end_ptr, taken_ptr, count, strips, experts, height, second, places, together,
    UP: gl.constexpr, FP8: gl.constexpr, STEPS: gl.constexpr, TOP_K: gl.constexpr,
    STAGES: gl.constexpr,
):  # fmt: skip
    """Tiles of rows times strips of their expert's weights; with UP, of its gates and of its ups, into SwiGLU.

    a: tokens, or with UP not set a descriptor of rows. height: rows of an expert's matrix. second: how far a strip's
    other 128 rows of weights lie behind its first. together: tiles of rows that share strips.
    """
    WIDTH: gl.constexpr = b_desc.block_type.shape[1]
    a_bufs = gl.allocate_shared_memory(b_desc.dtype, [STAGES, 128, WIDTH], b_desc.layout)
    b_bufs = gl.allocate_shared_memory(b_desc.dtype, [STAGES, 256, WIDTH], b_desc.layout)
    out_bufs = gl.allocate_shared_memory(out_desc.dtype, [2, 64, 128], out_desc.layout)
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    found = gl.allocate_shared_memory(gl.int32, [2, 1], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    told = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    heard = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    for turn in gl.static_range(2):
        mbarrier.init(told.index(turn), count=1)
        mbarrier.init(heard.index(turn), count=2)
    for stage in gl.static_range(STAGES):
        mbarrier.init(full.index(stage), count=129 if UP else 1)  # 128 threads arrive with what they gathered
        mbarrier.init(free.index(stage), count=2)
    fence_async_shared()
    scales = (a_scale_ptr, b_scale_ptr, shared_scale_ptr, out_scale_ptr)
    order = (pair_ptr, expert_ptr, start_ptr, end_ptr, taken_ptr)
    sizes = (count, strips, experts, height, second, places, together)
    gl.warp_specialize([
        (_multiply, (out_desc, scales, order, sizes, a_bufs, b_bufs, out_bufs.index(0), full, free,
                     found, told, heard, 0, UP, FP8, STEPS, TOP_K)),
        (_multiply, (out_desc, scales, order, sizes, a_bufs, b_bufs, out_bufs.index(1), full, free,
                     found, told, heard, 1, UP, FP8, STEPS, TOP_K)),
        (_copy, (a, b_desc, shared_desc, order, sizes, a_bufs, b_bufs, full, free, found, told, heard,
                 UP, STEPS, TOP_K)),
    ], [4, 4], [232, 40])  # fmt: skip
