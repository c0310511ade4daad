"""`moe.mixture` on a GPU for many tokens: grouped products over experts that are bf16, fp8 or int4 (Triton).

    sort pairs by expert -> gate and up, SwiGLU in the epilogue -> down -> each token adds up its pairs

Rows are gathered by the first product as it loads them. A persistent program walks tiles of 128 rows; four of these,
about one expert's at 16k tokens (512 rows each), share each strip of weights while it is in the L2 cache. The shared
expert is a group of its own to which every token belongs. Pairs are added up by their token in float32, in the order
they were chosen: no atomics, so two runs agree.

fp8 multiplies 128 columns at a time and scales each partial sum by its row's and its block's scale; what goes into the
second product is quantised again, 128 numbers at a time, by the first one's epilogue (DeepSeek-V3, section 3.3). int4
is turned into bfloat16 on its way to the product.

On Hopper many tokens of the 48B's shape go to `moe_grouped_gluon_triton`.
"""
# mypy: disallow-untyped-defs=False

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels import quant
from kernels.launch_triton import generation, multiprocessors
from kernels.moe_route_triton import Order, sort
from kernels.quant import Fp8, Int4, Weights

LONG = 8192
"""So many tokens, and more, of shapes that `moe_grouped_gluon_triton` fits are left to it: fewer were not timed."""

ROWS = 128
"""Rows of a tile."""

TILES = {
    "up": {"BLOCK_N": 128, "GROUP": 4, "num_warps": 8, "num_stages": 4},
    "down": {"BLOCK_N": 256, "GROUP": 4, "num_warps": 8, "num_stages": 3},
    "up fp8": {"BLOCK_N": 128, "GROUP": 4, "num_warps": 8, "num_stages": 3},
    "down fp8": {"BLOCK_N": 128, "GROUP": 4, "num_warps": 8, "num_stages": 4},
    "up int4": {"BLOCK_N": 64, "GROUP": 4, "num_warps": 8, "num_stages": 3},
    "down int4": {"BLOCK_N": 128, "GROUP": 4, "num_warps": 8, "num_stages": 3},
}
"""`up` computes BLOCK_N gates and as many ups: 128 x 256 sums in all, the largest tile two warpgroups can hold."""


def mixture(
    x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Weights, down: Weights, shared: tuple[Weights, Weights]
) -> Tensor:
    """`moe.mixture`: each token's chosen experts, weighted, and the shared expert: x [T, D] -> [T, D].

    Raises ValueError for fp8 experts whose inner width is no multiple of 128.
    """
    experts, _, inner = quant.shape(down)
    if isinstance(down, Fp8) and inner % quant.BLOCK:
        raise ValueError(f"fp8 experts {inner} numbers wide: the second product wants multiples of {quant.BLOCK}")
    if x.shape[0] >= LONG and generation(x.device) == 9:  # its products are Hopper's own
        from kernels import moe_grouped_gluon_triton as gluon

        if gluon.fits(x, gate_up, down, shared):
            out, place = gluon.results(x, chosen, gate_up, down, shared)
            return combine(out, place, weights, out[: x.shape[0]])
    order = sort(chosen, experts, ROWS)
    routed = grouped(x, order, chosen.shape[1], gate_up, down)
    everyone = grouped(x, _all_rows(x), 1, *(_one(weight) for weight in shared))
    return combine(routed, order.place, weights, everyone)


def grouped(x: Tensor, order: Order, top_k: int, gate_up: Weights, down: Weights) -> Tensor:
    """down(silu(gate x) * up x) of every pair by its expert, in sorted order: x [T, D] -> [M, D]."""
    rows, width = order.pair.shape[0], x.shape[1]
    inner = quant.shape(down)[-1]
    a, scales = quantized(x) if isinstance(gate_up, Fp8) else (x.contiguous(), x)
    act = torch.empty(rows, inner, dtype=a.dtype, device=x.device)
    act_scales = torch.empty(rows, triton.cdiv(inner, quant.BLOCK), dtype=torch.float32, device=x.device)
    out = torch.empty(rows, width, dtype=x.dtype, device=x.device)
    _launch("up", a, scales, act, act_scales, order, top_k, gate_up, inner, width)
    _launch("down", act, act_scales, out, act_scales, order, top_k, down, width, inner)
    return out


def _launch(
    step: str, a: Tensor, a_scale: Tensor, out: Tensor, out_scale: Tensor, order: Order, top_k: int, weight: Weights,
    columns: int, depth: int,
) -> None:  # fmt: skip
    form = "fp8" if isinstance(weight, Fp8) else "int4" if isinstance(weight, Int4) else ""
    tiles = TILES[f"{step} {form}".strip()]
    block_n = min(tiles["BLOCK_N"], max(16, triton.next_power_of_2(columns)))
    if form == "fp8":
        block_n = min(tiles["BLOCK_N"], quant.BLOCK)
    values = weight.packed if isinstance(weight, Int4) else weight.values if isinstance(weight, Fp8) else weight
    block_k = 64 if form in ("", "int4") else quant.BLOCK
    flat = values.flatten(0, 1)
    scale = values if isinstance(weight, Tensor) else weight.scale
    zero = weight.zero if isinstance(weight, Int4) else values
    strips = triton.cdiv(columns, block_n)
    count = order.tile_start.shape[0]
    grid = min(count * strips, multiprocessors(a.device))
    _grouped[(grid,)](
        a, a_scale, TensorDescriptor.from_tensor(flat, [block_n, block_k]), scale, zero, out, out_scale,
        order.pair, order.tile_expert, order.tile_start, order.tile_end,
        count, strips, columns, depth, triton.cdiv(depth, quant.BLOCK),
        triton.cdiv(values.shape[1], quant.BLOCK),
        TOP_K=top_k, UP=step == "up", FORM=form, EVEN=depth % (quant.BLOCK if form else block_k) == 0,
        ROWS=ROWS, BLOCK_K=block_k, SCALED=quant.BLOCK, PROGRAMS=grid, **(tiles | {"BLOCK_N": block_n}),
    )  # fmt: skip


@triton.jit
def _grouped(
    a_ptr, a_scale_ptr, b_desc, b_scale_ptr, b_zero_ptr, out_ptr, out_scale_ptr,
    pair_ptr, tile_expert_ptr, tile_start_ptr, tile_end_ptr, count, strips, columns, depth, blocks_k, blocks_n,
    TOP_K: tl.constexpr, UP: tl.constexpr, FORM: tl.constexpr, EVEN: tl.constexpr,
    ROWS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, SCALED: tl.constexpr,
    GROUP: tl.constexpr, PROGRAMS: tl.constexpr,
):  # fmt: skip
    """Tiles of rows times strips of their expert's weights; with UP, of its gates and of its ups, into SwiGLU."""
    for number in tl.range(tl.program_id(0), count * strips, PROGRAMS):
        group = number // (GROUP * strips)
        high = tl.minimum(GROUP, count - group * GROUP)
        within = number - group * GROUP * strips
        tile, strip = group * GROUP + within % high, within // high
        start, end = tl.load(tile_start_ptr + tile), tl.load(tile_end_ptr + tile)
        # An expert's last tile, if it is at most half full, takes half the time.
        if end - start > ROWS // 2:
            _tile(
                a_ptr, a_scale_ptr, b_desc, b_scale_ptr, b_zero_ptr, out_ptr, out_scale_ptr, pair_ptr,
                tl.load(tile_expert_ptr + tile), start, end, strip, strips, columns, depth, blocks_k, blocks_n,
                TOP_K, UP, FORM, EVEN, ROWS, BLOCK_N, BLOCK_K, SCALED,
            )  # fmt: skip
        elif start < end:
            _tile(
                a_ptr, a_scale_ptr, b_desc, b_scale_ptr, b_zero_ptr, out_ptr, out_scale_ptr, pair_ptr,
                tl.load(tile_expert_ptr + tile), start, end, strip, strips, columns, depth, blocks_k, blocks_n,
                TOP_K, UP, FORM, EVEN, ROWS // 2, BLOCK_N, BLOCK_K, SCALED,
            )  # fmt: skip


@triton.jit
def _tile(
    a_ptr, a_scale_ptr, b_desc, b_scale_ptr, b_zero_ptr, out_ptr, out_scale_ptr, pair_ptr,
    expert, start, end, strip, strips, columns, depth, blocks_k, blocks_n,
    TOP_K: tl.constexpr, UP: tl.constexpr, FORM: tl.constexpr, EVEN: tl.constexpr,
    ROWS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, SCALED: tl.constexpr,
):  # fmt: skip
    """ROWS rows, those before `end`, times one strip of their expert's weights."""
    row = start + tl.arange(0, ROWS)
    row_a = tl.load(pair_ptr + row, mask=row < end, other=0) // TOP_K if UP else tl.minimum(row, end - 1)
    a_rows = a_ptr + row_a.to(tl.int64)[:, None] * depth
    column = strip * BLOCK_N
    b_row = expert * 2 * columns + column if UP else expert * columns + column
    acc = tl.zeros([ROWS, BLOCK_N], tl.float32)
    up = tl.zeros([ROWS, BLOCK_N], tl.float32)
    k_in = tl.arange(0, BLOCK_K)
    if FORM == "fp8":
        for k in tl.range(0, blocks_k):
            at = k * BLOCK_K
            a = tl.load(a_rows + at + k_in[None, :], mask=EVEN | (at + k_in < depth)[None, :], other=0.0)
            a_scale = tl.load(a_scale_ptr + row_a * blocks_k + k)
            scale_ptr = b_scale_ptr + (expert * blocks_n + column // SCALED) * blocks_k + k
            part = tl.dot(a, b_desc.load([b_row, at]).T)
            acc += part * (a_scale * tl.load(scale_ptr))[:, None]
            if UP:
                part = tl.dot(a, b_desc.load([b_row + columns, at]).T)
                up += part * (a_scale * tl.load(scale_ptr + columns // SCALED * blocks_k))[:, None]
    elif FORM == "int4":
        n = tl.arange(0, BLOCK_N)
        groups = blocks_k * 2
        for k in tl.range(0, blocks_k):
            at = k * SCALED
            low = tl.load(a_rows + at + k_in[None, :])
            high_a = tl.load(a_rows + at + BLOCK_K + k_in[None, :])
            packed = b_desc.load([b_row, k * BLOCK_K])
            scales = (b_row + n) * groups + 2 * k
            acc = _int4_dot(low, high_a, packed, b_scale_ptr + scales, b_zero_ptr + scales, acc)
            if UP:
                packed = b_desc.load([b_row + columns, k * BLOCK_K])
                scales += columns * groups
                up = _int4_dot(low, high_a, packed, b_scale_ptr + scales, b_zero_ptr + scales, up)
    else:
        for at in tl.range(0, depth, BLOCK_K):
            a = tl.load(a_rows + at + k_in[None, :], mask=EVEN | (at + k_in < depth)[None, :], other=0.0)
            acc = tl.dot(a, b_desc.load([b_row, at]).T, acc, input_precision="tf32x3")
            if UP:
                up = tl.dot(a, b_desc.load([b_row + columns, at]).T, up, input_precision="tf32x3")
    if UP:
        acc = acc * tl.sigmoid(acc) * up
    n = column + tl.arange(0, BLOCK_N)
    keep = (row < end)[:, None] & (n < columns)[None, :]
    if UP and FORM == "fp8":
        acc = tl.where((n < columns)[None, :], acc, 0.0)
        out_scale = tl.maximum(tl.max(tl.abs(acc), 1), 1e-12) / 448.0
        tl.store(out_scale_ptr + row * strips + strip, out_scale, mask=row < end)
        acc = acc / out_scale[:, None]
    out = out_ptr + row.to(tl.int64)[:, None] * columns + n[None, :]
    tl.store(out, acc.to(out_ptr.dtype.element_ty), mask=keep)


@triton.jit
def _int4_dot(low, high, packed, scale_ptr, zero_ptr, acc):
    """acc plus 128 columns of a times packed weights [N, 64]: a byte's halves belong to `low` and to `high`."""
    scale, zero = tl.load(scale_ptr).to(tl.float32)[:, None], tl.load(zero_ptr).to(tl.float32)[:, None]
    weight = (packed & 15).to(tl.float32) * scale + zero
    acc = tl.dot(low, weight.to(low.dtype).T, acc, input_precision="tf32x3")
    scale, zero = tl.load(scale_ptr + 1).to(tl.float32)[:, None], tl.load(zero_ptr + 1).to(tl.float32)[:, None]
    weight = (packed >> 4).to(tl.float32) * scale + zero
    return tl.dot(high, weight.to(low.dtype).T, acc, input_precision="tf32x3")


def combine(routed: Tensor, place: Tensor, weights: Tensor, shared: Tensor) -> Tensor:
    """Each token's pairs, weighted and added up in the order they were chosen, and the shared expert's: [T, D]."""
    tokens, top_k = weights.shape
    out = torch.empty_like(shared)
    width = shared.shape[1]
    _combine[(triton.cdiv(tokens, 4), triton.cdiv(width, 256))](
        routed, place, weights, shared, out, tokens, width, TOP_K=top_k, BLOCK_T=4, BLOCK_D=256
    )
    return out


@triton.jit
def _combine(
    routed_ptr, place_ptr, weights_ptr, shared_ptr, out_ptr, tokens, width,
    TOP_K: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """BLOCK_T tokens' sums over BLOCK_D columns."""
    t = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)[None, :]
    there = (t < tokens)[:, None] & (d < width)
    at = t.to(tl.int64)[:, None] * width + d
    acc = tl.zeros([BLOCK_T, BLOCK_D], tl.float32)
    for k in tl.static_range(TOP_K):
        place = tl.load(place_ptr + t * TOP_K + k, mask=t < tokens, other=0).to(tl.int64)
        weight = tl.load(weights_ptr + t * TOP_K + k, mask=t < tokens, other=0.0)
        acc += weight[:, None] * tl.load(routed_ptr + place[:, None] * width + d, mask=there, other=0.0).to(tl.float32)
    acc += tl.load(shared_ptr + at, mask=there, other=0.0).to(tl.float32)
    tl.store(out_ptr + at, acc.to(out_ptr.dtype.element_ty), mask=there)


def quantized(x: Tensor) -> tuple[Tensor, Tensor]:
    """`quant.rows_to_fp8`."""
    tokens, width = x.shape
    values = torch.empty(tokens, width, dtype=torch.float8_e4m3fn, device=x.device)
    blocks = triton.cdiv(width, quant.BLOCK)
    scale = torch.empty(tokens, blocks, dtype=torch.float32, device=x.device)
    _quantize[(triton.cdiv(tokens, 16), blocks)](
        x, x.stride(0), values, scale, tokens, width, blocks, BLOCK_T=16, BLOCK=quant.BLOCK
    )
    return values, scale


@triton.jit
def _quantize(
    x_ptr, x_row, values_ptr, scale_ptr, tokens, width, blocks, BLOCK_T: tl.constexpr, BLOCK: tl.constexpr
):
    """BLOCK numbers of each of BLOCK_T rows to fp8 with a scale."""
    t = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    there = (t < tokens)[:, None] & (d < width)
    row = t.to(tl.int64)[:, None]
    x = tl.load(x_ptr + row * x_row + d, mask=there, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(x), 1), 1e-12) / 448.0
    tl.store(scale_ptr + t.to(tl.int64) * blocks + tl.program_id(1), scale, mask=t < tokens)
    tl.store(values_ptr + row * width + d, (x / scale[:, None]).to(values_ptr.dtype.element_ty), mask=there)


def _all_rows(x: Tensor) -> Order:
    """Every token once, in one group."""
    rows = torch.arange(x.shape[0], dtype=torch.int32, device=x.device)
    start = rows[::ROWS].contiguous()
    end = torch.full_like(start, x.shape[0])
    return Order(rows, rows, torch.zeros_like(start), start, end, end[:1])


def _one(weight: Weights) -> Weights:
    """A single matrix as a stack of one."""
    if isinstance(weight, Fp8):
        return Fp8(weight.values[None], weight.scale[None])
    if isinstance(weight, Int4):
        return Int4(weight.packed[None], weight.scale[None], weight.zero[None])
    return weight[None]
