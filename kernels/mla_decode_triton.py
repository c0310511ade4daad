"""`mla.attend_pages` on a GPU: absorbed queries over paged latents, split over the length (Triton).

A page table holds the pages' addresses, so pages stay ordinary tensors that states share. Table and lengths are read on
the device: one captured graph serves any length up to the one it was made for. How a sequence is split depends on its
own length alone, and the parts are joined in the order of their number, so a row's result is the same to the bit
whatever else is in the batch.

Queries that share pages (many questions over one document) form a group; its rows meet every tile of latents together.
The tile is the left operand: scores are keys x rows and the sum is latents x rows, because with 32 heads the other way
round half of every 64-row matrix instruction would multiply padding.

Dao et al., 2023 (Flash-Decoding); DeepSeek-V2 (arXiv 2405.04434), section 2.1.2 for absorption.
"""
# mypy: disallow-untyped-defs=False

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch_triton import begin, generation, overlap

SPLITS = 132
"""Parts of a long sequence: about one for each multiprocessor."""

GLUON = True
"""Whether shapes that fit take `mla_decode_gluon_triton`."""

TILES_A_SPLIT = 1
"""Tiles that a part has at least. A tile alone takes 5 us, longer than joining its part."""

MANY, JOIN_FEW, JOIN_MANY = 128, (256, 64), (32, 256)
"""Of up to MANY parts of a row and of more: the columns that a program joins, and the parts it asks for together. Many
parts are those of few rows, which need more programs. Bits follow from both, so from a row's number of parts."""

ALONE = 1 << 20
"""The height of a single page: it ends with its sequence, and a kernel made for each height would take seconds each."""

TILE = {"BLOCK_S": 64, "num_warps": 4, "num_stages": 2}
"""64 rows of 576 numbers are 72 KiB: one tile is multiplied while the next is on its way."""


@dataclass(frozen=True)
class Span:
    """Pages that groups of queries attend to.

    table int64 [G, N]: the addresses of each group's pages, contiguous [page_rows, R+P] in the queries' dtype.
    lengths int32 [G]: its tokens. queries int32 [G, Q]: the rows of the batch that attend to it, -1 for none. Every
    row stands exactly once in a span; if it has nothing there, in a group of length 0.
    """

    table: Tensor
    lengths: Tensor
    queries: Tensor
    page_rows: int


def attend_pages(q: Tensor, pages: Sequence[Tensor], rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """`mla.attend_pages`: q [H, T, R+P] over pages of latents, all of one height but the last."""
    span = _one_group(pages, q.shape[1], q.device)
    o, lse = attend_spans(q.transpose(0, 1), [span], rank, scale, splits(sum(page.shape[0] for page in pages)))
    return o.transpose(0, 1), lse.t()


def _one_group(pages: Sequence[Tensor], queries: int, device: torch.device) -> Span:
    """Every query over the same pages, all of one height but the last."""
    return Span(
        torch.tensor([[page.data_ptr() for page in pages]], device=device),
        torch.tensor([sum(page.shape[0] for page in pages)], dtype=torch.int32, device=device),
        torch.arange(queries, dtype=torch.int32, device=device)[None],
        pages[0].shape[0] if len(pages) > 1 else ALONE,
    )


def splits(length: int) -> int:
    """The number of parts of a sequence of `length` tokens."""
    tiles = triton.cdiv(max(length, 1), TILE["BLOCK_S"])
    return triton.cdiv(tiles, max(TILES_A_SPLIT, triton.cdiv(tiles, SPLITS)))


def attend_spans(
    q: Tensor, spans: Sequence[Span], rank: int, scale: float, parts: int = SPLITS, most: int = SPLITS,
    settled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Attention of one token's absorbed queries a row, q [B, H, R+P], over all its spans together.

    `parts`: at least `splits` of the longest span, fixed when a graph is captured. `most`: parts of a sequence at most,
    then as many as `parts`. `settled`: what wrote the latents of all tokens but each row's last has ended, so a GPU may
    read them while the kernels in front still run. Returns (o float32 [B, H, R], lse float32 [B, H]).
    """
    q = q.contiguous()
    if q.data_ptr() % 16:  # pages are addressed by their distance from q, a multiple of 16 bytes
        q = q.clone()
    batch, heads, _ = q.shape
    slots, rows = len(spans) * parts, batch * heads
    partial = torch.empty(slots, rows, rank, dtype=torch.float32, device=q.device)
    partial_lse = torch.empty(slots, rows, dtype=torch.float32, device=q.device)
    how = (parts, min(most, SPLITS), scale * 1.4426950408889634)
    if _fits_gluon(q, rank, spans):
        from kernels import mla_decode_gluon_triton

        mla_decode_gluon_triton.launch(q, spans, partial, partial_lse, *how, settled)
    else:
        for number, span in enumerate(spans):
            _launch(q, span, partial, partial_lse, number * parts, *how)
    o = torch.empty(batch, heads, rank, dtype=torch.float32, device=q.device)
    lse = torch.empty(batch, heads, dtype=torch.float32, device=q.device)
    together = triton.next_power_of_2(slots)
    columns, at_once = JOIN_FEW if slots <= MANY else JOIN_MANY
    block = min(columns, triton.next_power_of_2(rank))
    _join[(rows, triton.cdiv(rank, block))](
        partial, partial_lse, o, lse, rows, rank, slots,
        BLOCK_SLOTS=together, CHUNK=min(together, at_once), BLOCK=block, num_warps=8 if together > 64 else 4,
        **overlap(q.device),
    )  # fmt: skip
    return o, lse


def _fits_gluon(q: Tensor, rank: int, spans: Sequence[Span]) -> bool:
    """Whether one launch of the kernel whose warps are told apart makes all spans' parts."""
    if not GLUON or generation(q.device) != 9 or len(spans) > 2:
        return False
    from kernels import mla_decode_gluon_triton

    height = spans[0].page_rows
    return spans[-1].page_rows == height and mla_decode_gluon_triton.fits(q, rank, height)


def _launch(
    q: Tensor, span: Span, o: Tensor, lse: Tensor, slot: int, parts: int, most: int, scale: float
) -> None:  # fmt: skip
    """Parts of a span's sequences into o [slots, B*H, R] and lse [slots, B*H], from `slot` on."""
    _, heads, width = q.shape
    groups, queries = span.queries.shape
    rank, block_heads = o.shape[2], triton.next_power_of_2(heads)
    block_rows = max(16, block_heads * (1 if queries == 1 else max(1, 64 // block_heads)))
    _partial[(triton.cdiv(queries, block_rows // block_heads), parts, groups)](
        q, span.table, span.lengths, span.queries, o, lse,
        slot, o.shape[1], span.table.stride(0), queries, most, scale,
        HEADS=heads, RANK=rank, SHARED=width - rank, PAGE=span.page_rows, LEAST=TILES_A_SPLIT,
        BLOCK_HEADS=block_heads, BLOCK_ROWS=block_rows, BLOCK_RANK=triton.next_power_of_2(rank),
        BLOCK_SHARED=max(16, triton.next_power_of_2(width - rank)),
        **(TILE | {"num_warps": TILE["num_warps"] * max(1, block_rows // 32)}), **overlap(q.device),
    )  # fmt: skip


@triton.jit
def _partial(
    q_ptr, table_ptr, lengths_ptr, queries_ptr, o_ptr, lse_ptr, slot, rows_in_all, pages, queries, most, scale,
    HEADS: tl.constexpr, RANK: tl.constexpr, SHARED: tl.constexpr, PAGE: tl.constexpr, LEAST: tl.constexpr,
    BLOCK_HEADS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_RANK: tl.constexpr, BLOCK_SHARED: tl.constexpr,
    BLOCK_S: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """One part of one group's sequence for BLOCK_ROWS rows (query, head): its sum and the log2 of its denominator."""
    begin(OVERLAP)
    split, group = tl.program_id(1), tl.program_id(2)
    n = tl.arange(0, BLOCK_ROWS)
    asked, head = tl.program_id(0) * (BLOCK_ROWS // BLOCK_HEADS) + n // BLOCK_HEADS, n % BLOCK_HEADS
    query = tl.load(queries_ptr + group * queries + asked, mask=asked < queries, other=-1)
    is_row = (query >= 0) & (head < HEADS)
    row = query * HEADS + head
    length = tl.load(lengths_ptr + group)
    tiles = tl.cdiv(length, BLOCK_S)
    each = tl.maximum(LEAST, tl.cdiv(tiles, most))
    first, last = split * each, tl.minimum(split * each + each, tiles)
    place = (slot + split).to(tl.int64) * rows_in_all + row
    if first >= last:
        tl.store(lse_ptr + place, tl.full([BLOCK_ROWS], float("-inf"), tl.float32), mask=is_row)
        return

    latent, common = tl.arange(0, BLOCK_RANK), tl.arange(0, BLOCK_SHARED)
    q_row = q_ptr + row.to(tl.int64)[:, None] * (RANK + SHARED)
    q = tl.load(q_row + latent[None, :], mask=is_row[:, None] & (latent < RANK)[None, :], other=0.0)
    q_common = tl.load(q_row + RANK + common[None, :], mask=is_row[:, None] & (common < SHARED)[None, :], other=0.0)
    q, q_common = tl.trans(q), tl.trans(q_common)
    top = tl.full([BLOCK_ROWS], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_ROWS], tl.float32)
    acc = tl.zeros([BLOCK_RANK, BLOCK_ROWS], tl.float32)
    table_ptr += group * pages
    for tile in tl.range(first, last):
        at = tile * BLOCK_S
        s = tl.arange(0, BLOCK_S)
        # As a distance from a known pointer the compiler believes its alignment, and copies 16 bytes at a time.
        away = tl.load(table_ptr + at // PAGE) - q_ptr.to(tl.int64)
        away = tl.multiple_of(away // (q_ptr.dtype.element_ty.primitive_bitwidth // 8), 8)
        latents = q_ptr + away + (at % PAGE + s)[:, None] * (RANK + SHARED)
        is_key = at + s < length
        k_mask = is_key[:, None]
        if BLOCK_RANK != RANK:
            k_mask = k_mask & (latent < RANK)[None, :]
        k = tl.load(latents + latent[None, :], mask=k_mask, other=0.0)
        c_mask = is_key[:, None]
        if BLOCK_SHARED != SHARED:
            c_mask = c_mask & (common < SHARED)[None, :]
        k_common = tl.load(latents + RANK + common[None, :], mask=c_mask, other=0.0)
        scores = tl.dot(k, q, input_precision="tf32x3")
        scores = tl.dot(k_common, q_common, scores, input_precision="tf32x3") * scale
        scores = tl.where(is_key[:, None], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 0))
        p = tl.exp2(scores - higher[None, :])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(p, 0)
        acc = tl.dot(tl.trans(k), p.to(k.dtype), acc * shrink[None, :], input_precision="tf32x3")
        top = higher

    tl.store(lse_ptr + place, top + tl.log2(total), mask=is_row)
    out = o_ptr + place[:, None] * RANK + latent[None, :]
    tl.store(out, tl.trans(acc / total[None, :]), mask=is_row[:, None] & (latent < RANK)[None, :])


@triton.jit
def _join(
    partial_ptr, partial_lse_ptr, o_ptr, lse_ptr, rows, rank, slots, BLOCK_SLOTS: tl.constexpr, CHUNK: tl.constexpr,
    BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """One row's parts into one, in the order of their slots. CHUNK parts' loads are on their way together."""
    begin(OVERLAP)
    row, column = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    slot = tl.arange(0, BLOCK_SLOTS)
    found = tl.load(partial_lse_ptr + slot * rows + row, mask=slot < slots, other=float("-inf"))
    top = tl.max(found, 0)
    lse = top + tl.log2(tl.sum(tl.exp2(found - top), 0))
    acc = tl.zeros([BLOCK], tl.float32)
    for start in tl.static_range(0, BLOCK_SLOTS, CHUNK):
        some = start + tl.arange(0, CHUNK)
        part_lse = found
        if CHUNK != BLOCK_SLOTS:
            part_lse = tl.load(partial_lse_ptr + some * rows + row, mask=some < slots, other=float("-inf"))
        place = (some.to(tl.int64) * rows + row)[:, None] * rank + column[None, :]
        there = (part_lse > float("-inf"))[:, None] & (column < rank)[None, :]
        part = tl.load(partial_ptr + place, mask=there, other=0.0)
        acc += tl.sum(part * tl.exp2(part_lse - lse)[:, None], 0)
    tl.store(o_ptr + row.to(tl.int64) * rank + column, acc, mask=column < rank)
    tl.store(lse_ptr + row, lse * 0.6931471805599453, mask=tl.program_id(1) == 0)
