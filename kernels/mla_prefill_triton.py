"""`mla.attend_expanded` on a GPU: latents expanded segment by segment, and flash attention over each (Triton).

The expansion is one matrix product into [S, H, nope+V]; the attention kernel reads keys and values from it in place,
and the key part that all heads share straight from the latents, so nothing is concatenated or repeated. The scores are
two products, 128 + 64 wide at the 48B shape, because a width of 192 would be padded to 256. An earlier segment's result
is merged in the epilogue: one pass over the output for each segment, and no kernel of its own.

Dao, 2023 (FlashAttention-2, arXiv 2307.08691), algorithm 1; softmax in base 2.
"""
# mypy: disallow-untyped-defs=False

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.launch_triton import generation

SEGMENT = 65536
"""Latents expanded at once: 1 GiB of keys and values at the 48B shape, and an epilogue of 0.4 % of the arithmetic."""

GLUON = True
"""Whether shapes that fit take `mla_prefill_gluon_triton`: half as fast again on an H100."""

TILES = {"BLOCK_M": 128, "BLOCK_N": 64, "num_warps": 8, "num_stages": 3}
"""Two warpgroups of 64 queries. Shared memory: 48 KiB of queries, 40 KiB of keys and values in each of three stages."""


def attend_expanded(
    q: Tensor, pages: Sequence[Tensor], up: Tensor, nope: int, scale: float, causal: bool,
    past: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """`mla.attend_expanded`: attention of q [H, T, nope+P] over latents [S, R+P] in pages, keys and values expanded.

    With `causal` the queries are the last T of the S tokens, and o is in q's dtype: nothing is merged into it later.
    `past` (o, lse) is merged in. Returns (o [H, T, V], else float32, lse float32 [H, T]).
    """
    step = len(pages) if causal else max(1, SEGMENT // pages[0].shape[0])
    for start in range(0, len(pages), step):
        kv, latents = expand(pages[start : start + step], up)
        past = attend(q, kv, latents, nope, scale, causal, past)
    assert past is not None, "there is nothing to attend to"
    return past


def expand(pages: Sequence[Tensor], up: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of every head, [S, H, nope+V], and the latents they came from as one tensor [S, R+P]."""
    latents = pages[0] if len(pages) == 1 else torch.cat(list(pages))
    flat = latents[:, : up.shape[-1]] @ up.flatten(0, 1).t()
    return flat.unflatten(-1, up.shape[:2]), latents


def attend(
    q: Tensor, kv: Tensor, latents: Tensor, nope: int, scale: float, causal: bool,
    past: tuple[Tensor, Tensor] | None = None, tiles: dict[str, int] = TILES,
) -> tuple[Tensor, Tensor]:
    """Attention of q [H, T, nope+P] over expanded kv [S, H, nope+V] and the shared key part of latents [S, R+P].

    Raises ValueError for widths that the copy engine cannot address.
    """
    heads, tokens, width = q.shape
    keys, _, both = kv.shape
    value, shared = both - nope, width - nope
    if any(n * q.element_size() % 16 for n in (nope, value, shared, latents.shape[1])):
        raise ValueError(f"heads of {nope} + {shared} and {value} numbers are no multiples of 16 bytes")
    block_m, block_n = tiles["BLOCK_M"], tiles["BLOCK_N"]
    o = q.new_empty(tokens, heads, value, dtype=q.dtype if causal else torch.float32).transpose(0, 1)
    lse = torch.empty(heads, tokens, dtype=torch.float32, device=q.device)
    if GLUON and generation(q.device) == 9:
        from kernels import mla_prefill_gluon_triton

        if mla_prefill_gluon_triton.fits(q, kv, nope):
            mla_prefill_gluon_triton.attend(q, kv, latents, scale, causal, past, o, lse)
            return o, lse
    o_past, lse_past = past or (o, lse)
    kv = kv.flatten(1)
    blocks = [max(16, triton.next_power_of_2(n)) for n in (nope, shared, value)]
    _attend[(triton.cdiv(tokens, block_m), heads)](
        q, q.stride(0), q.stride(1),
        TensorDescriptor.from_tensor(kv, [block_n, blocks[0]]),
        TensorDescriptor.from_tensor(kv, [block_n, blocks[2]]),
        TensorDescriptor.from_tensor(latents, [block_n, blocks[1]]),
        o, o.stride(0), o.stride(1), lse,
        o_past, o_past.stride(0), o_past.stride(1), lse_past, lse_past.stride(0), lse_past.stride(1),
        tokens, keys, latents.shape[1] - shared, scale * 1.4426950408889634,
        NOPE=nope, SHARED=shared, VALUE=value, PAST=past is not None, CAUSAL=causal,
        BLOCK_NOPE=blocks[0], BLOCK_SHARED=blocks[1], BLOCK_VALUE=blocks[2], **tiles,
    )  # fmt: skip
    return o, lse


@triton.jit(do_not_specialize=["tokens", "keys"])  # a 1 folded into the code makes ptxas fail
def _attend(
    q_ptr, q_head, q_token, k_desc, v_desc, shared_desc,
    o_ptr, o_head, o_token, lse_ptr, past_ptr, past_head, past_token, past_lse_ptr, past_lse_head, past_lse_token,
    tokens, keys, rank, scale,
    NOPE: tl.constexpr, SHARED: tl.constexpr, VALUE: tl.constexpr, PAST: tl.constexpr, CAUSAL: tl.constexpr,
    BLOCK_NOPE: tl.constexpr, BLOCK_SHARED: tl.constexpr, BLOCK_VALUE: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One block of queries of one head. Later blocks, which see more keys, start first."""
    head = tl.program_id(1)
    start = (tl.num_programs(0) - 1 - tl.program_id(0)) * BLOCK_M
    rows = start + tl.arange(0, BLOCK_M)
    row_is = (rows < tokens)[:, None]
    own, common = tl.arange(0, BLOCK_NOPE)[None, :], tl.arange(0, BLOCK_SHARED)[None, :]
    q_rows = q_ptr + head * q_head + rows.to(tl.int64)[:, None] * q_token
    q_own = tl.load(q_rows + own, mask=row_is & (own < NOPE), other=0.0)
    q_common = tl.load(q_rows + NOPE + common, mask=row_is & (common < SHARED), other=0.0)

    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_VALUE], tl.float32)
    column = head * (NOPE + VALUE)
    # Keys that every query of the block sees need no mask.
    first = keys - tokens + start  # the position of the block's first query
    whole = (tl.minimum(first + 1, keys) if CAUSAL else keys) // BLOCK_N * BLOCK_N
    for n in tl.range(0, whole, BLOCK_N):
        scores = tl.dot(q_own, k_desc.load([n, column]).T, input_precision="tf32x3")
        scores = tl.dot(q_common, shared_desc.load([n, rank]).T, scores, input_precision="tf32x3")
        higher = tl.maximum(top, tl.max(scores, 1) * scale)
        p = tl.exp2(scores * scale - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(p, 1)
        v = v_desc.load([n, column + NOPE])
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision="tf32x3")
        top = higher
    for n in tl.range(whole, tl.minimum(first + BLOCK_M, keys) if CAUSAL else keys, BLOCK_N):
        scores = tl.dot(q_own, k_desc.load([n, column]).T, input_precision="tf32x3")
        scores = tl.dot(q_common, shared_desc.load([n, rank]).T, scores, input_precision="tf32x3")
        at = n + tl.arange(0, BLOCK_N)[None, :]
        seen = (at < keys) & (at <= (first + tl.arange(0, BLOCK_M))[:, None]) if CAUSAL else at < keys
        scores = tl.where(seen, scores * scale, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1))
        p = tl.exp2(scores - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(p, 1)
        v = v_desc.load([n, column + NOPE])
        acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision="tf32x3")
        top = higher

    acc = acc / total[:, None]
    lse = (top + tl.log2(total)) * 0.6931471805599453
    value = tl.arange(0, BLOCK_VALUE)[None, :]
    keep = row_is & (value < VALUE)
    if PAST:
        lse_at = past_lse_ptr + head * past_lse_head + rows * past_lse_token
        lse_past = tl.load(lse_at, mask=rows < tokens, other=0.0)
        past_rows = past_ptr + head * past_head + rows.to(tl.int64)[:, None] * past_token
        o_past = tl.load(past_rows + value, mask=keep, other=0.0)
        high = tl.maximum(lse, lse_past)
        both = high + tl.log(tl.exp(lse - high) + tl.exp(lse_past - high))
        acc = acc * tl.exp(lse - both)[:, None] + o_past * tl.exp(lse_past - both)[:, None]
        lse = both
    tl.store(lse_ptr + head * tokens + rows, lse, mask=rows < tokens)
    tl.store(o_ptr + head * o_head + rows.to(tl.int64)[:, None] * o_token + value, acc, mask=keep)
