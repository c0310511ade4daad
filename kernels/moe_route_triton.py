"""`moe.route` on a GPU, and the order in which experts meet their tokens (Triton).

Scores are sums in float32: products of bfloat16 numbers are exact there. The sort is a counting sort: each block of 128
(token, expert) pairs counts its experts, the counts are added up over the blocks, and every pair finds its place. All
of it is whole numbers in a fixed order, nothing waits for the host, and no atomic takes part: two runs agree.
"""
# mypy: disallow-untyped-defs=False

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch_triton import begin, let_next, overlap, wait

FEW = 512
"""Up to so many tokens small tiles are multiplied, and parts of a row by programs of their own: the large tiles are one
program for 64 tokens. With it router and sort took 70 us a layer for 32 tokens, 15 for one (H200, 2026-11-26)."""

ADDED = {"BLOCK_E": 16, "BLOCK_D": 256, "num_warps": 1}
"""A program of `add_norm_route`."""

PAIRS = 128
"""Pairs sorted by one program."""


@dataclass(frozen=True)
class Order:
    """Pairs (token * top_k + choice) sorted by expert, and the tiles of rows that grouped products work on.

    pair int32 [places]: the pair at each place. place int32 [M]: the place of each pair. tile_expert, tile_start,
    tile_end int32 [tiles]: a tile's expert, its first place, and where its expert ends; tiles past the last have no
    rows. counts int32 [E]: pairs of each expert.
    """

    pair: Tensor
    place: Tensor
    tile_expert: Tensor
    tile_start: Tensor
    tile_end: Tensor
    counts: Tensor


def route(
    x: Tensor, weight: Tensor, bias: Tensor, top_k: int, renormalize: bool, scaling: float
) -> tuple[Tensor, Tensor]:
    """`moe.route`: x [T, D], weight [E, D], bias [E] -> (weights float32 [T, top_k], experts int64 [T, top_k])."""
    tokens, width = x.shape
    experts = weight.shape[0]
    few = tokens <= FEW
    block_t, block_e, block_d = (16, 16, 256) if few else (256 // x.element_size(), 256, 64)
    parts = triton.cdiv(width, block_d) if few else 2
    logits = torch.empty(parts, tokens, experts, dtype=torch.float32, device=x.device)
    _logits[(triton.cdiv(tokens, block_t), triton.cdiv(experts, block_e), parts)](
        x, x.stride(0), weight, logits, tokens, experts, width,
        STEPS=triton.cdiv(width, parts * block_d), BLOCK_T=block_t, BLOCK_E=block_e, BLOCK_D=block_d,
        num_warps=1 if few else 8, num_stages=4 if few or x.element_size() == 2 else 3, **overlap(x.device),
    )  # fmt: skip
    return _chosen(logits, bias, top_k, renormalize, scaling, few)


def add_norm_route(
    x: Tensor, delta: Tensor, norm: Tensor, eps: float, weight: Tensor, bias: Tensor, top_k: int, renormalize: bool,
    scaling: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`norm.add_rms_norm` of x and delta [T, D], and `route` of what it gives: (sum, normed, weights, experts)."""
    x, delta = x.contiguous(), delta.contiguous()
    tokens, width = x.shape
    parts, experts = triton.cdiv(width, ADDED["BLOCK_D"]), weight.shape[0]
    total, given = torch.empty_like(x), torch.empty_like(x)
    logits = torch.empty(parts, tokens, experts, dtype=torch.float32, device=x.device)
    _add_norm_logits[(tokens, triton.cdiv(experts, ADDED["BLOCK_E"]), parts)](
        x, delta, norm, weight, total, given, logits, tokens, experts, eps, WIDTH=width, **ADDED, **overlap(x.device)
    )
    return total, given, *_chosen(logits, bias, top_k, renormalize, scaling, True)


def _chosen(
    logits: Tensor, bias: Tensor, top_k: int, renormalize: bool, scaling: float, few: bool
) -> tuple[Tensor, Tensor]:
    """`route`'s weights and experts from the parts of scores [parts, T, E]."""
    parts, tokens, experts = logits.shape
    weights = torch.empty(tokens, top_k, dtype=torch.float32, device=logits.device)
    chosen = torch.empty(tokens, top_k, dtype=torch.int64, device=logits.device)
    block = 1 if few else 4
    _choose[(triton.cdiv(tokens, block),)](
        logits, bias, weights, chosen, tokens, experts, scaling, TOP_K=top_k, RENORMALIZE=renormalize, PARTS=parts,
        BLOCK_T=block, BLOCK_E=triton.next_power_of_2(experts), BLOCK_K=triton.next_power_of_2(top_k),
        num_warps=1, **overlap(logits.device),
    )  # fmt: skip
    return weights, chosen


@triton.jit
def _logits(
    x_ptr, x_row, weight_ptr, logits_ptr, tokens, experts, width,
    STEPS: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Scores of BLOCK_T tokens for BLOCK_E experts over STEPS times BLOCK_D of a token's numbers. If that is a single
    step, the experts' rows are on their way before the tokens are there."""
    let_next(OVERLAP)
    t = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    e = tl.program_id(1) * BLOCK_E + tl.arange(0, BLOCK_E)
    d = tl.program_id(2) * STEPS * BLOCK_D + tl.arange(0, BLOCK_D)[None, :]
    rows = x_ptr + t.to(tl.int64)[:, None] * x_row
    columns = weight_ptr + e[:, None] * width
    is_t, is_e = (t < tokens)[:, None], (e < experts)[:, None]
    acc = tl.zeros([BLOCK_T, BLOCK_E], tl.float32)
    if STEPS == 1:
        w = tl.load(columns + d, mask=is_e & (d < width), other=0.0)
        wait(OVERLAP)
        x = tl.load(rows + d, mask=is_t & (d < width), other=0.0)
        acc = tl.dot(x, w.T, acc, input_precision="ieee")
    else:
        wait(OVERLAP)
        for start in tl.range(0, STEPS * BLOCK_D, BLOCK_D):
            x = tl.load(rows + start + d, mask=is_t & (start + d < width), other=0.0)
            w = tl.load(columns + start + d, mask=is_e & (start + d < width), other=0.0)
            acc = tl.dot(x, w.T, acc, input_precision="ieee")
    there = is_t & (e < experts)[None, :]
    place = tl.program_id(2) * tokens + t.to(tl.int64)
    tl.store(logits_ptr + place[:, None] * experts + e[None, :], acc, mask=there)


@triton.jit
def _add_norm_logits(
    x_ptr, delta_ptr, norm_ptr, weight_ptr, total_ptr, given_ptr, logits_ptr, tokens, experts, eps,
    WIDTH: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Scores of one token for BLOCK_E experts over BLOCK_D of its numbers, which are normed first; all programs of a
    token take its whole sum for that, and the first of them writes its part of sum and norm."""
    let_next(OVERLAP)
    t, d = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK_D)
    e = tl.program_id(1) * BLOCK_E + tl.arange(0, BLOCK_E)
    own = tl.program_id(2) * BLOCK_D + d
    mask = (e < experts)[:, None] & (own < WIDTH)[None, :]
    w = tl.load(weight_ptr + e[:, None] * WIDTH + own[None, :], mask=mask, other=0.0).to(tl.float32)
    scale = tl.load(norm_ptr + own, mask=own < WIDTH, other=0.0).to(tl.float32)
    wait(OVERLAP)
    squares = tl.zeros([BLOCK_D], tl.float32)
    for start in tl.static_range(0, WIDTH, BLOCK_D):
        some = _sum(x_ptr, delta_ptr, t, start + d, WIDTH).to(tl.float32)
        squares += some * some
    total = _sum(x_ptr, delta_ptr, t, own, WIDTH)
    given = total.to(tl.float32) * tl.rsqrt(tl.sum(squares, 0) / WIDTH + eps) * scale
    given = given.to(given_ptr.dtype.element_ty)
    if tl.program_id(1) == 0:
        tl.store(total_ptr + t * WIDTH + own, total, mask=own < WIDTH)
        tl.store(given_ptr + t * WIDTH + own, given, mask=own < WIDTH)
    logits = tl.sum(w * given.to(tl.float32)[None, :], 1)
    tl.store(logits_ptr + (tl.program_id(2) * tokens + t) * experts + e, logits, mask=e < experts)


@triton.jit
def _sum(x_ptr, delta_ptr, t, d, WIDTH: tl.constexpr):
    """Numbers d of a token's x plus delta, rounded as they go on."""
    x = tl.load(x_ptr + t * WIDTH + d, mask=d < WIDTH, other=0.0)
    delta = tl.load(delta_ptr + t * WIDTH + d, mask=d < WIDTH, other=0.0)
    return (x.to(tl.float32) + delta.to(tl.float32)).to(x.dtype)


@triton.jit
def _choose(
    logits_ptr, bias_ptr, weights_ptr, chosen_ptr, tokens, experts, scaling,
    TOP_K: tl.constexpr, RENORMALIZE: tl.constexpr, PARTS: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_K: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """The TOP_K experts of highest score + bias, the first of equals, and their scores as weights."""
    let_next(OVERLAP)
    t, e = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T), tl.arange(0, BLOCK_E)[None, :]
    k = tl.arange(0, BLOCK_K)[None, :]
    at = t.to(tl.int64)[:, None]
    bias = tl.load(bias_ptr + e, mask=e < experts, other=0.0).to(tl.float32)
    wait(OVERLAP)
    is_score = (t < tokens)[:, None] & (e < experts)
    logits = tl.load(logits_ptr + at * experts + e, mask=is_score, other=0.0)
    for part in tl.static_range(1, PARTS):  # added up in order
        logits += tl.load(logits_ptr + (part * tokens + at) * experts + e, mask=is_score, other=0.0)
    scores = tl.sigmoid(logits)
    left = tl.where(e < experts, scores + bias, float("-inf")).to(tl.int32, bitcast=True)
    left ^= (left >> 31) & 0x7FFFFFFF  # in the order of the numbers, and a warp has the largest in one instruction
    bits = scores.to(tl.int32, bitcast=True)  # none is negative
    chosen, weights = tl.zeros([BLOCK_T, BLOCK_K], tl.int32), tl.zeros([BLOCK_T, BLOCK_K], tl.int32)
    for n in tl.static_range(TOP_K):
        best = tl.min(tl.where(left == tl.max(left, 1)[:, None], e, BLOCK_E), 1)[:, None]
        chosen = tl.where(k == n, best, chosen)
        weights = tl.where(k == n, tl.max(tl.where(e == best, bits, 0), 1)[:, None], weights)
        left = tl.where(e == best, -(2**31), left)
    keep = (t < tokens)[:, None] & (k < TOP_K)
    weights = weights.to(tl.float32, bitcast=True)
    if RENORMALIZE:
        weights = weights / (tl.sum(weights, 1)[:, None] + 1e-20)
    tl.store(weights_ptr + at * TOP_K + k, weights * scaling, mask=keep)
    tl.store(chosen_ptr + at * TOP_K + k, chosen.to(tl.int64), mask=keep)


def sort(chosen: Tensor, experts: int, rows: int, apart: int = 1, everyone: int = 0) -> Order:
    """The pairs of chosen int64 [T, top_k] by expert, in the order of their tokens, in tiles of `rows` rows.

    Every expert's places begin at a multiple of `apart`; those between are nobody's, and what `pair` says of them is
    nothing. The first places and tiles are those of a further group, `experts` by its number, of `everyone` rows.
    """
    pairs, device = chosen.numel(), chosen.device
    blocks = triton.cdiv(pairs, PAIRS)
    tiles = triton.cdiv(everyone, rows) + triton.cdiv(pairs, rows) + min(experts, pairs)
    first = triton.cdiv(everyone, apart) * apart
    places = first + pairs + min(experts, pairs) * (apart - 1)
    counted = torch.empty(blocks, experts, dtype=torch.int32, device=device)
    pair, place = (torch.empty(length, dtype=torch.int32, device=device) for length in (places, pairs))
    counts = torch.empty(experts, dtype=torch.int32, device=device)
    tile = torch.empty(3, tiles, dtype=torch.int32, device=device)
    shape = {"BLOCK_P": PAIRS, "BLOCK_E": triton.next_power_of_2(experts), **overlap(device)}
    _count[(blocks,)](chosen, counted, pairs, experts, **shape)
    _add_up[(experts,)](
        counted, counts, blocks, experts, BLOCK=min(1024, triton.next_power_of_2(blocks)), **overlap(device)
    )
    _put[(blocks + triton.cdiv(tiles, 16),)](
        chosen, counted, counts, pair, place, tile, blocks, pairs, tiles, experts, first, everyone,
        APART=apart, ROWS=rows, BLOCK_T=16, **shape,
    )  # fmt: skip
    return Order(pair, place, tile[0], tile[1], tile[2], counts)


@triton.jit
def _count(
    chosen_ptr, counted_ptr, pairs, experts, BLOCK_P: tl.constexpr, BLOCK_E: tl.constexpr, OVERLAP: tl.constexpr
):  # fmt: skip
    """How often each expert stands in a block of pairs."""
    begin(OVERLAP)
    p, e = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P), tl.arange(0, BLOCK_E)
    chosen = tl.load(chosen_ptr + p, mask=p < pairs, other=0).to(tl.int32)
    count = tl.histogram(chosen, BLOCK_E, mask=p < pairs)
    tl.store(counted_ptr + tl.program_id(0) * experts + e, count, mask=e < experts)


@triton.jit
def _add_up(counted_ptr, counts_ptr, blocks, experts, BLOCK: tl.constexpr, OVERLAP: tl.constexpr):
    """One expert's counts in the blocks before each, in place, and in all."""
    begin(OVERLAP)
    e = tl.program_id(0)
    before = tl.zeros([1], tl.int32)
    for start in tl.range(0, blocks, BLOCK):
        b = start + tl.arange(0, BLOCK)
        count = tl.load(counted_ptr + b * experts + e, mask=b < blocks, other=0)
        through = tl.cumsum(count, 0)
        tl.store(counted_ptr + b * experts + e, before + through - count, mask=b < blocks)
        before += tl.sum(count, 0)
    tl.store(counts_ptr + e + tl.arange(0, 1), before)


@triton.jit
def _put(
    chosen_ptr, counted_ptr, counts_ptr, pair_ptr, place_ptr, tile_ptr, blocks, pairs, tiles, experts, first, everyone,
    APART: tl.constexpr, ROWS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_T: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """Each pair's place: after the experts before its own, the blocks before this one, and its fellows before it.
    The programs behind the last block `_cut`."""
    begin(OVERLAP)
    if tl.program_id(0) >= blocks:
        tile = (tl.program_id(0) - blocks) * BLOCK_T + tl.arange(0, BLOCK_T)
        _cut(counts_ptr, tile_ptr, tile, tiles, experts, first, everyone, ROWS, APART, BLOCK_E)
        return
    n, e = tl.arange(0, BLOCK_P), tl.arange(0, BLOCK_E)
    p = tl.program_id(0) * BLOCK_P + n
    counts = tl.load(counts_ptr + e, mask=e < experts, other=0)
    taken = tl.cdiv(counts, APART) * APART
    base = first + tl.cumsum(taken, 0) - taken
    base += tl.load(counted_ptr + tl.program_id(0) * experts + e, mask=e < experts, other=0)
    chosen = tl.load(chosen_ptr + p, mask=p < pairs, other=0).to(tl.int32)
    fellows = tl.sum(((chosen[:, None] == chosen[None, :]) & (n[None, :] < n[:, None])).to(tl.int32), 1)
    place = tl.gather(base, chosen, 0) + fellows
    tl.store(place_ptr + p, place, mask=p < pairs)
    tl.store(pair_ptr + place, p, mask=p < pairs)


@triton.jit
def _cut(
    counts_ptr, tile_ptr, tile, tiles, experts, first, everyone,
    ROWS: tl.constexpr, APART: tl.constexpr, BLOCK_E: tl.constexpr,
):  # fmt: skip
    """The places in tiles of ROWS that never cross from one expert to the next; first those of everyone's group."""
    e = tl.arange(0, BLOCK_E)[None, :]
    counts = tl.load(counts_ptr + e, mask=e < experts, other=0)
    ahead = tl.cdiv(everyone, ROWS)
    own, taken = tl.cdiv(counts, ROWS), tl.cdiv(counts, APART) * APART
    through = ahead + tl.cumsum(own, 1)
    begins = first + tl.cumsum(taken, 1) - taken
    mine = (through - own <= tile[:, None]) & (tile[:, None] < through)
    start = tl.sum(tl.where(mine, begins + (tile[:, None] - through + own) * ROWS, 0), 1)
    expert, end = tl.sum(tl.where(mine, e, 0), 1), tl.sum(tl.where(mine, begins + counts, 0), 1)
    expert = tl.where(tile < ahead, experts, expert)
    start, end = tl.where(tile < ahead, tile * ROWS, start), tl.where(tile < ahead, everyone, end)
    tl.store(tile_ptr + tile, expert, mask=tile < tiles)
    tl.store(tile_ptr + tiles + tile, start, mask=tile < tiles)
    tl.store(tile_ptr + 2 * tiles + tile, end, mask=tile < tiles)
