"""MLA decode's parts with their warps told apart (Gluon): `mla_decode_triton`'s sums at the 48B's shape.

64 rows (two questions' heads, or one's and nothing) meet every tile of 64 latents together. One warp copies tiles ahead
(TMA into two stages). One warpgroup multiplies scores, does the softmax and adds up the left half of the latents'
columns; the other adds up the right half, with the weights that the first leaves in shared memory. So both use one copy
of a tile, which serves as keys and as values, and one's exponentials run beside the other's products.

Only for bfloat16 latents of 512 + 64 and 32 heads, on Hopper. Triton's interpreter does not know Gluon.
"""
# mypy: disallow-untyped-defs=False

from collections.abc import Sequence
from typing import TYPE_CHECKING

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

from kernels import memory_triton as memory
from kernels.launch_triton import overlap

if TYPE_CHECKING:
    from kernels.mla_decode_triton import Span

HEADS, RANK, SHARED = 32, 512, 64
ROWS, TILE, STAGES = 64, 64, 2
"""72 KiB of queries, two stages of 72 KiB, 8 KiB of weights."""


def fits(q: Tensor, rank: int, page_rows: int) -> bool:
    """Whether these are the shapes this kernel is made for: q [B, H, R+P]."""
    return q.dtype == torch.bfloat16 and (*q.shape[1:], rank) == (HEADS, RANK + SHARED, RANK) and page_rows % TILE == 0


def launch(
    q: Tensor, spans: Sequence["Span"], o: Tensor, lse: Tensor, parts: int, most: int, scale: float, settled: bool
) -> None:
    """`mla_decode_triton._launch` of one or two spans with pages of one height, for shapes that `fits`. The last span's
    programs start first: it is the one that many queries share, so its programs take longest."""
    programs = [-(-span.queries.shape[1] // (ROWS // HEADS)) * parts * span.queries.shape[0] for span in spans]
    first, last = spans[0], spans[-1]
    partial_kernel[(sum(programs),)](
        memory.tiles(TILE, RANK + SHARED, RANK // 2), memory.tiles(TILE, RANK + SHARED, SHARED),
        memory.tiles(HEADS, RANK + SHARED, SHARED), q,
        last.table, last.lengths, last.queries, last.table.stride(0), last.queries.shape[1],
        first.table, first.lengths, first.queries, first.table.stride(0), first.queries.shape[1],
        o, lse, programs[-1], (len(spans) - 1) * parts, o.shape[1], parts, most, scale,
        HEADS=HEADS, RANK=RANK, SHARED=SHARED, PAGE=last.page_rows, ROWS=ROWS, TILE=TILE, STAGES=STAGES,
        SETTLED=settled, num_warps=4, **overlap(q.device),
    )  # fmt: skip


@gluon.jit
def _load(
    half_desc, shared_desc, q_desc, q_ptr, queries_ptr, table_ptr, q, q_full, bufs, full, free,
    asked, queries, length, first, tiles,
    HEADS: gl.constexpr, PAGE: gl.constexpr, SETTLED: gl.constexpr, OVERLAP: gl.constexpr,
):  # fmt: skip
    """The copying warp: queries and tiles. What is asked for behind a stream of tiles waits for it, so queries come
    before the second tile; before the first one too, unless that may be asked for while the kernel in front runs."""
    TILE: gl.constexpr = bufs[1].shape[3]
    early = 0
    if SETTLED:  # noqa: SIM102 - known when compiled, the other when run
        if (tiles > 0) & ((first + 1) * TILE < length):
            _load_tile(half_desc, shared_desc, table_ptr, length, first, 0, bufs, full, free, PAGE)
            early = 1
    if OVERLAP:
        _wait()
    if tiles > 0:
        _load_queries(q_desc, q_ptr, queries_ptr, q, q_full, asked, queries, HEADS)
    for n in range(early, tiles):
        _load_tile(half_desc, shared_desc, table_ptr, length, first, n, bufs, full, free, PAGE)


@gluon.jit
def _load_tile(half_desc, shared_desc, table_ptr, length, first, n, bufs, full, free, PAGE: gl.constexpr):
    """The n-th tile's three parts, each into the stage that its last user has left."""
    STAGES: gl.constexpr = bufs[1].shape[0]
    TILE: gl.constexpr = bufs[1].shape[3]
    HALF: gl.constexpr = bufs[1].shape[4]
    WIDTH: gl.constexpr = 2 * HALF + bufs[0].shape[4]
    stage, phase = n % STAGES, (n // STAGES) & 1
    start = (first + n) * TILE
    address = gl.load(table_ptr + start // PAGE) + (start % PAGE) * (2 * WIDTH)
    at = memory.find(address, gl.minimum(TILE, length - start), WIDTH, TILE)
    for part in gl.static_range(3):
        mbarrier.wait(free.index(3 * stage + part), phase ^ 1)
        desc = half_desc if part > 0 else shared_desc
        memory.copy(desc, at, (part + 2) % 3 * HALF, bufs[part].index(stage), full.index(3 * stage + part))


@gluon.jit
def _load_queries(q_desc, q_ptr, queries_ptr, q, q_full, asked, queries, HEADS: gl.constexpr):
    """The heads of this program's queries; of one that it lacks, another's, whose results go nowhere: a tile of which
    no row exists made the copy engine read out of bounds. A matrix is its strips of STRIP columns."""
    STRIP: gl.constexpr = q[0].shape[4]
    EACH: gl.constexpr = q[0].shape[0]
    HALF: gl.constexpr = q[1].shape[0] // EACH * STRIP
    WIDTH: gl.constexpr = 2 * HALF + STRIP
    mbarrier.expect(q_full, EACH * HEADS * WIDTH * 2)
    for n in gl.static_range(EACH):
        query = gl.load(queries_ptr + gl.minimum(asked + n, queries - 1))
        address = q_ptr.to(gl.int64) + gl.maximum(query, 0).to(gl.int64) * (HEADS * WIDTH * 2)
        at = memory.find(address, HEADS, WIDTH, HEADS)
        for part in gl.static_range(3):
            for strip in gl.static_range(q[part].shape[0] // EACH):
                column = (part + 2) % 3 * HALF + strip * STRIP
                memory.copy_tile(q_desc, [at[0], at[1], at[2], column], q_full, q[part].index(strip * EACH + n))


@gluon.jit
def _rows(queries_ptr, asked, queries, HEADS: gl.constexpr, ROWS: gl.constexpr, layout: gl.constexpr):
    """The rows of q that this program serves, its group's queries from `asked` on, and which of them there are."""
    n = gl.arange(0, ROWS, layout)
    place = asked + n // HEADS
    query = gl.load(queries_ptr + place, mask=place < queries, other=-1)
    return query * HEADS + n % HEADS, query >= 0


@gluon.jit
def _multiply(q, bufs, full, n, zero):
    """Start the n-th tile's scores, part by part as they arrive."""
    STAGES: gl.constexpr = bufs[0].shape[0]
    stage, phase = n % STAGES, (n // STAGES) & 1
    s = zero
    for part in gl.static_range(3):
        mbarrier.wait(full.index(3 * stage + part), phase)
        keys = memory.matrix(bufs[part].index(stage)).permute((1, 0))
        s = warpgroup_mma(q[part], keys, s, use_acc=part > 0, is_async=True)
    return s


@gluon.jit
def _weigh(s, n, at, length, top, scale, p_buf, shrink_buf, p_full, p_free):
    """The n-th tile's scores into weights, which the other warpgroup gets too; and how much older sums shrink."""
    TILE: gl.constexpr = s.shape[1]
    if at + TILE > length:
        key = at + gl.arange(0, TILE, gl.SliceLayout(0, s.type.layout))
        s = gl.where((key < length)[None, :], s, float("-inf"))
    higher = gl.maximum(top, gl.max(s, 1) * scale)
    p = gl.exp2(s * scale - higher[:, None])
    shrink = gl.exp2(top - higher)
    weights = p.to(gl.bfloat16)
    mbarrier.wait(p_free, (n & 1) ^ 1)
    p_buf.store(weights)
    shrink_buf.store(shrink)
    fence_async_shared()
    mbarrier.arrive(p_full, count=1)
    return p, weights, higher, shrink


@gluon.jit
def _scores(
    queries_ptr, o_ptr, lse_ptr, q, q_full, bufs, full, free, p_buf, shrink_buf, p_full, p_free,
    asked, queries, length, first, tiles, place, scale,
    HEADS: gl.constexpr, OVERLAP: gl.constexpr,
):  # fmt: skip
    """The first warpgroup: scores, weights, and the left half of the sums."""
    STAGES: gl.constexpr = bufs[0].shape[0]
    ROWS: gl.constexpr = p_buf.shape[0]
    TILE: gl.constexpr = p_buf.shape[1]
    HALF: gl.constexpr = bufs[1].shape[4]
    s_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, TILE, 16])
    o_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, HALF, 16])
    p_layout: gl.constexpr = gl.DotOperandLayout(0, o_layout, 2)
    by_row: gl.constexpr = gl.SliceLayout(1, s_layout)
    by_o: gl.constexpr = gl.SliceLayout(1, o_layout)
    row, is_row = _rows(queries_ptr, asked, queries, HEADS, ROWS, by_o)
    if OVERLAP:
        _wait()
    if tiles > 0:
        STRIP: gl.constexpr = q[0].shape[4]
        given = (
            q[0]._reinterpret(gl.bfloat16, [ROWS, STRIP], memory.MATRIX),
            q[1]._reinterpret(gl.bfloat16, [ROWS, HALF], memory.MATRIX),
            q[2]._reinterpret(gl.bfloat16, [ROWS, HALF], memory.MATRIX),
        )
        mbarrier.wait(q_full, 0)
        zero = gl.zeros([ROWS, TILE], gl.float32, s_layout)
        acc = gl.zeros([ROWS, HALF], gl.float32, o_layout)
        top = gl.full([ROWS], float("-inf"), gl.float32, by_row)
        total = gl.full([ROWS], 0.0, gl.float32, by_row)
        s = warpgroup_mma_wait(0, deps=[_multiply(given, bufs, full, 0, zero)])
        mbarrier.arrive(free.index(0), count=1)
        p, weights, top, shrink = _weigh(s, 0, first * TILE, length, top, scale, p_buf, shrink_buf, p_full, p_free)
        for n in range(1, tiles):
            stage, before = n % STAGES, (n - 1) % STAGES
            acc = acc * gl.convert_layout(shrink, by_o)[:, None]
            weights = gl.convert_layout(weights, p_layout)
            acc = warpgroup_mma(weights, memory.matrix(bufs[1].index(before)), acc, is_async=True)
            acc = warpgroup_mma_wait(0, deps=[acc])
            mbarrier.arrive(free.index(3 * before + 1), count=1)
            s = _multiply(given, bufs, full, n, zero)
            total = total * shrink + gl.sum(p, 1)
            s = warpgroup_mma_wait(0, deps=[s])
            mbarrier.arrive(free.index(3 * stage), count=1)
            at = (first + n) * TILE
            p, weights, top, shrink = _weigh(s, n, at, length, top, scale, p_buf, shrink_buf, p_full, p_free)
        total = total * shrink + gl.sum(p, 1)
        acc = acc * gl.convert_layout(shrink, by_o)[:, None]
        weights = gl.convert_layout(weights, p_layout)
        acc = warpgroup_mma(weights, memory.matrix(bufs[1].index((tiles - 1) % STAGES)), acc, is_async=True)
        acc = warpgroup_mma_wait(0, deps=[acc])

        mbarrier.wait(p_free, (tiles & 1) ^ 1)
        shrink_buf.store(1.0 / total)
        mbarrier.arrive(p_full, count=1)
        gl.store(lse_ptr + place + row, gl.convert_layout(top + gl.log2(total), by_o), mask=is_row)
        _store(o_ptr, acc, gl.convert_layout(1.0 / total, by_o), place + row, is_row, 0)
    else:
        gl.store(lse_ptr + place + row, gl.full([ROWS], float("-inf"), gl.float32, by_o), mask=is_row)


@gluon.jit
def _values(
    queries_ptr, o_ptr, bufs, full, free, p_buf, shrink_buf, p_full, p_free, asked, queries, tiles, place,
    HEADS: gl.constexpr,
):  # fmt: skip
    """The second warpgroup: the right half of the sums."""
    STAGES: gl.constexpr = bufs[0].shape[0]
    ROWS: gl.constexpr = p_buf.shape[0]
    HALF: gl.constexpr = bufs[2].shape[4]
    o_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, HALF, 16])
    by_o: gl.constexpr = gl.SliceLayout(1, o_layout)
    acc = gl.zeros([ROWS, HALF], gl.float32, o_layout)
    if tiles > 0:
        for n in range(tiles):
            stage, phase = n % STAGES, (n // STAGES) & 1
            mbarrier.wait(p_full, n & 1)
            mbarrier.wait(full.index(3 * stage + 2), phase)
            acc = acc * shrink_buf.load(by_o)[:, None]
            acc = warpgroup_mma(p_buf, memory.matrix(bufs[2].index(stage)), acc, is_async=True)
            acc = warpgroup_mma_wait(0, deps=[acc])
            mbarrier.arrive(free.index(3 * stage + 2), count=1)
            mbarrier.arrive(p_free, count=1)
        mbarrier.wait(p_full, tiles & 1)
        row, is_row = _rows(queries_ptr, asked, queries, HEADS, ROWS, by_o)
        _store(o_ptr, acc, shrink_buf.load(by_o), place + row, is_row, HALF)


@gluon.jit
def _store(o_ptr, acc, factor, place, is_row, START: gl.constexpr):
    """Half of the columns of every row's sum."""
    HALF: gl.constexpr = acc.shape[1]
    column = START + gl.arange(0, HALF, gl.SliceLayout(0, acc.type.layout))
    gl.store(o_ptr + place[:, None] * (2 * HALF) + column[None, :], acc * factor[:, None], mask=is_row[:, None])


@gluon.jit
def _let_next():
    """`launch_triton.let_next`."""
    gl.inline_asm_elementwise("griddepcontrol.launch_dependents; // dummy $0", "=r", [], gl.int32, False, 1)


@gluon.jit
def _wait():
    """`launch_triton.wait`."""
    gl.inline_asm_elementwise("griddepcontrol.wait; // dummy $0", "=r", [], gl.int32, False, 1)


@gluon.jit(do_not_specialize=["pages", "other_pages", "queries", "other_queries", "programs", "slot", "parts", "most"])
def partial_kernel(
    half_desc, shared_desc, q_desc, q_ptr, table_ptr, lengths_ptr, queries_ptr, pages, queries,
    other_table_ptr, other_lengths_ptr, other_queries_ptr, other_pages, other_queries,
    o_ptr, lse_ptr, programs, slot, rows_in_all, parts, most, scale,
    HEADS: gl.constexpr, RANK: gl.constexpr, SHARED: gl.constexpr, PAGE: gl.constexpr,
    ROWS: gl.constexpr, TILE: gl.constexpr, STAGES: gl.constexpr,
    SETTLED: gl.constexpr, OVERLAP: gl.constexpr,
):  # fmt: skip
    """One part of one group's sequence for ROWS rows (query, head): its sum and the log2 of its denominator. The first
    `programs` serve a span whose parts begin at `slot`, those behind them, if any, another's that begin at 0."""
    HALF: gl.constexpr = RANK // 2
    narrow: gl.constexpr = gl.NVMMASharedLayout(swizzle_byte_width=2 * TILE, element_bitwidth=16, rank=2)
    # Queries and latents in three parts: the columns that are keys alone, left, right.
    q = (
        gl.allocate_shared_memory(gl.bfloat16, [ROWS // HEADS, 1, 1, HEADS, SHARED], q_desc.layout),
        gl.allocate_shared_memory(gl.bfloat16, [HALF // SHARED * ROWS // HEADS, 1, 1, HEADS, SHARED], q_desc.layout),
        gl.allocate_shared_memory(gl.bfloat16, [HALF // SHARED * ROWS // HEADS, 1, 1, HEADS, SHARED], q_desc.layout),
    )
    bufs = (
        gl.allocate_shared_memory(gl.bfloat16, [STAGES, 1, 1, TILE, SHARED], shared_desc.layout),
        gl.allocate_shared_memory(gl.bfloat16, [STAGES, 1, 1, TILE, HALF], half_desc.layout),
        gl.allocate_shared_memory(gl.bfloat16, [STAGES, 1, 1, TILE, HALF], half_desc.layout),
    )
    p_buf = gl.allocate_shared_memory(gl.bfloat16, [ROWS, TILE], narrow)
    shrink_buf = gl.allocate_shared_memory(gl.float32, [ROWS], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    full = gl.allocate_shared_memory(gl.int64, [3 * STAGES, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [3 * STAGES, 1], mbarrier.MBarrierLayout())
    q_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    p_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    p_free = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    for place in gl.static_range(3 * STAGES):
        mbarrier.init(full.index(place), count=1)
        mbarrier.init(free.index(place), count=1)
    mbarrier.init(q_full, count=1)
    mbarrier.init(p_full, count=1)
    mbarrier.init(p_free, count=1)
    fence_async_shared()
    if OVERLAP:
        _let_next()
        if not SETTLED:
            _wait()

    n = gl.program_id(0)
    if n >= programs:
        n -= programs
        table_ptr, lengths_ptr, queries_ptr = other_table_ptr, other_lengths_ptr, other_queries_ptr
        pages, queries, slot = other_pages, other_queries, 0
    together = gl.cdiv(queries, ROWS // HEADS)
    asked, split, group = n % together * (ROWS // HEADS), n // together % parts, n // together // parts
    table_ptr += group * pages
    queries_ptr += group * queries
    length = gl.load(lengths_ptr + group)
    tiles = gl.cdiv(length, TILE)
    each = gl.maximum(1, gl.cdiv(tiles, most))
    first = split * each
    tiles = gl.minimum(each, tiles - first)
    place = (slot + split).to(gl.int64) * rows_in_all
    gl.warp_specialize([
        (_scores, (
            queries_ptr, o_ptr, lse_ptr, q, q_full, bufs, full, free, p_buf, shrink_buf, p_full, p_free,
            asked, queries, length, first, tiles, place, scale, HEADS, OVERLAP,
        )),
        (_values, (
            queries_ptr, o_ptr, bufs, full, free, p_buf, shrink_buf, p_full, p_free, asked, queries, tiles, place,
            HEADS,
        )),
        (_load, (
            half_desc, shared_desc, q_desc, q_ptr, queries_ptr, table_ptr, q, q_full, bufs, full, free,
            asked, queries, length, first, tiles, HEADS, PAGE, SETTLED, OVERLAP,
        )),
    ], [4, 1], [216, 24])  # fmt: skip
