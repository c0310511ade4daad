"""Multi-head latent attention without rotation: attention that reports its log-sum-exp, merged over segments.

DeepSeek-V2 (arXiv 2405.04434, section 2.1) with Kimi Linear's NoPE: the cache keeps, per token, one normed latent [R]
and one key part [P] shared by all heads. Attending to the past goes segment by segment; each segment gives an output
and the log of its softmax denominator, and `merge` joins two of them exactly, so memory stays bounded at any length.
"""

from collections.abc import Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHTS = 1 << 20
"""Weights of keys that are worked on at once, of each head or of a few queries: they stay in a processor's cache."""

ROUND = 64
"""Keys are filled up to a multiple of this: PyTorch prepares a product anew for every size that it has not met of late,
which takes a millisecond, and the past grows by a key with each token."""

OUTWEIGHS = 50.0
"""How much heavier than all keys before new ones may be, for their scores to be rounded against those."""

GROWTH = 4
"""How many times as many pages as before may be attended to at once. With all at once a fifth of `mini`'s tokens behind
100,000 found some head's keys to outweigh its first page, and had to take one page after another."""


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """Softmax attention over one segment of keys.

    q [H, T, K], k [H, S, K], v [H, S, V]; with `causal`, S == T and token t sees tokens 0..t.
    Returns (o [H, T, V] in v's dtype, lse float32 [H, T]).
    """
    if q.device.type == "cpu":
        return _attend_cpu(q, k, v, scale, causal)
    return attend_reference(q, k, v, scale, causal)


def attend_reference(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """`attend` as the formula says it, in float32 (float64 for float64 inputs)."""
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = (q.to(wide) @ k.to(wide).transpose(-1, -2)) * scale
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1 + k.shape[1] - q.shape[1])
        scores = scores.masked_fill(later, float("-inf"))
    lse = torch.logsumexp(scores, -1)
    return (torch.exp(scores - lse[..., None]) @ v.to(wide)).to(v.dtype), lse


def _attend_cpu(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """`attend` by PyTorch's fused CPU kernel, which wants keys and values of one width: the narrower gets zeros."""
    width = max(q.shape[-1], v.shape[-1])
    q, k, padded = (F.pad(x, (0, width - x.shape[-1])) if x.shape[-1] < width else x for x in (q, k, v))
    o, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q[None], k[None], padded[None], 0.0, causal, scale=scale
    )
    return o[0, ..., : v.shape[-1]], lse[0]


def merge(o1: Tensor, lse1: Tensor, o2: Tensor, lse2: Tensor) -> tuple[Tensor, Tensor]:
    """Join attention over two disjoint sets of keys into attention over both.

    o1, o2 [H, T, V] (o1 float32), lse1, lse2 [H, T]. Returns (o float32 [H, T, V], lse [H, T]).
    """
    lse = torch.logaddexp(lse1, lse2)
    return o1 * torch.exp(lse1 - lse)[..., None] + o2.float() * torch.exp(lse2 - lse)[..., None], lse


def extend(o: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention over more keys: what `attend` gives for q, k and v, merged into the attention o, lse over others.

    o [H, T, V] and lse [H, T], float32 or wider, q [H, T, K], k [H, S, K], v [H, S, V] -> (o, lse).
    """
    if _by_products(q):
        return _extend_bfloat16(o, lse, q, k, v, scale)
    return merge(o, lse, *attend(q, k, v, scale, causal=False))


def _by_products(q: Tensor) -> bool:
    """Whether q meets more keys by bfloat16 products instead of PyTorch's fused kernel."""
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and not torch.cpu._is_amx_tile_supported()


def _extend_bfloat16(o: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """`extend` by bfloat16 products, for processors where PyTorch's fused kernel multiplies in float32.

    Keys are weighed against what was attended to before: exp(score - lse). So the scores, which are rounded to
    bfloat16, are finest where they matter. Where the new keys far outweigh all others they would not be: `attend` then.
    """
    size = k.shape[1]
    if gap := -size % ROUND:
        k, v = F.pad(k, (0, 0, 0, gap)), F.pad(v, (0, 0, 0, gap))
    reference = lse.to(q.dtype)
    new, total = torch.empty_like(o), torch.empty_like(lse)
    rows = max(1, WEIGHTS // k.shape[1])
    for start in range(0, q.shape[1], rows):
        part = slice(start, start + rows)
        less = (-reference[:, part, None]).expand(-1, -1, k.shape[1])
        weights = torch.baddbmm(less, q[:, part], k.transpose(1, 2), alpha=scale).exp_()
        weights[..., size:] = 0
        total[:, part] = _sum(weights, lse.dtype)
        new[:, part] = torch.bmm(weights, v)
    if not (total < OUTWEIGHS).all():
        return merge(o, lse, *attend(q, k[:, :size], v[:, :size], scale, causal=False))
    return _with_before(new, total, o, lse, reference)


def _with_before(new: Tensor, total: Tensor, o: Tensor, lse: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over new keys and those before. new [..., V]: the sum of new values, weighed by exp(score - reference),
    and total [...]: of these weights, both overwritten; o [..., V] and lse [...]: of the keys before -> (o, lse)."""
    before = torch.exp(lse - reference)
    total += before
    return new.addcmul_(o, before[..., None]).div_(total[..., None]), reference + total.log()


def _sum(weights: Tensor, dtype: torch.dtype) -> Tensor:
    """The sum over the last dimension, a multiple of ROUND: [..., S] -> [...] of `dtype`. Converting all of a bfloat16
    tensor for that takes a sixth of the attention's time; so runs of ROUND are summed first, whose rounding the sum
    over the runs averages out.
    """
    return weights.unflatten(-1, (-1, ROUND)).sum(-1).sum(-1, dtype=dtype)


def expand(latents: Tensor, kv_up: Tensor, nope: int) -> tuple[Tensor, Tensor]:
    """Keys and values of every head from cached latents, by one product, which has the shared part go through as it is:
    copying that took half as long as the product.

    latents [S, R+P], kv_up [H, nope+V, R] -> (k [H, S, nope+P], v [H, S, V]), slices of one tensor.
    """
    heads, rows, rank = kv_up.shape
    part = latents.shape[1] - rank
    up = latents.new_zeros(heads, rows + part, rank + part)
    up[:, :nope, :rank], up[:, nope + part :, :rank] = kv_up[:, :nope], kv_up[:, nope:]
    up[:, nope : nope + part, rank:] = torch.eye(part, dtype=up.dtype, device=up.device)
    both = (latents @ up.flatten(0, 1).T).unflatten(-1, (heads, -1)).transpose(0, 1)  # [H, S, nope+P+V]
    return both[..., : nope + part], both[..., nope + part :]


def attend_expanded(
    q: Tensor, pages: Sequence[Tensor], up: Tensor, nope: int, scale: float, causal: bool,
    past: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention over latents whose keys and values are expanded first: the cheaper way for many queries.

    q [H, T, nope+P], pages: latents [S, R+P] in pieces, up [H, nope+V, R]. With `causal` the queries are the last T of
    the S tokens. `past` (o, lse), attention over other keys, is merged in. Returns (o [H, T, V], lse [H, T]), float32
    or wider.
    """
    for latents in [torch.cat(list(pages))] if causal else pages:
        k, v = expand(latents, up, nope)
        if _by_products(q):  # a product with a slice would copy it for each group of queries
            k, v = k.contiguous(), v.contiguous()
        if past is not None and not causal:
            past = extend(*past, q, k, v, scale)
            continue
        square = not causal or q.shape[1] == k.shape[1]
        o, lse = (attend if square else attend_reference)(q, k, v, scale, causal)
        o = o.to(lse.dtype)
        past = (o, lse) if past is None else merge(*past, o, lse)
    assert past is not None, "there is nothing to attend to"
    return past


def absorb(q: Tensor, kv_up: Tensor, nope: int) -> Tensor:
    """Queries moved into latent space, so that they meet cached latents directly: q [H, T, nope+P] -> [H, T, R+P]."""
    return torch.cat([q[..., :nope] @ kv_up[:, :nope], q[..., nope:]], -1)


def attend_latents(q: Tensor, latents: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of absorbed queries over cached latents, all heads reading the same rows once.

    q [H, T, R+P], latents [S, R+P] -> (o [H, T, R]: still to go through the value map, lse [H, T]).
    """
    heads, tokens, width = q.shape
    rows = q.reshape(1, heads * tokens, width)
    o, lse = attend(rows, latents[None], latents[None], scale, causal=False)  # values as wide as keys need no copy
    return o[..., :rank].reshape(heads, tokens, rank), lse.reshape(heads, tokens)


def extend_latents(
    o: Tensor, lse: Tensor, q: Tensor, latents: Tensor, rank: int, scale: float
) -> tuple[Tensor, Tensor]:
    """`extend` of absorbed queries over more latents: o [H, T, R], lse [H, T], q [H, T, R+P], latents [S, R+P]."""
    if not _by_products(q):
        return merge(o, lse, *attend_latents(q, latents, rank, scale))
    flat_o, flat_lse, rows = (x.reshape(1, -1, *x.shape[2:]) for x in (o, lse, q))
    extended, total = _extend_bfloat16(flat_o, flat_lse, rows, latents[None], latents[None, :, :rank], scale)
    return extended.view_as(o), total.view_as(lse)


def extend_pages(
    o: Tensor, lse: Tensor, q: Tensor, pages: Sequence[Tensor], rank: int, scale: float, before: int = 0
) -> tuple[Tensor, Tensor]:
    """`extend_latents` over latents in pieces; few queries meet many pieces of one size at once.

    o [H, T, R] and lse [H, T], float32 or wider, q [H, T, R+P], pages [S, R+P] each -> (o, lse). before: how many such
    pages were attended to already.
    """
    for size, alike in groupby(pages, len):
        can_join = size % ROUND == 0 and _by_products(q)
        some, most = list(alike), max(1, WEIGHTS // (size * q[..., 0].numel())) if can_join else 1
        while some:
            group = some[: min(most, max(1, GROWTH * before))]
            o, lse = _extend_at_once(o, lse, q, group, rank, scale)
            some, before = some[len(group) :], before + len(group)
    return o, lse


def _extend_at_once(
    o: Tensor, lse: Tensor, q: Tensor, pages: Sequence[Tensor], rank: int, scale: float
) -> tuple[Tensor, Tensor]:
    """`extend_pages` over pages [S, R+P] of one size, as `_extend_bfloat16` does it, with the steps between the
    products once for all pages (S is a multiple of ROUND then): for one token behind many they took as long as the
    products."""
    if len(pages) > 1:
        flat_o, flat_lse, rows = (x.reshape(-1, *x.shape[2:]) for x in (o, lse, q))  # [H T, .]
        reference = flat_lse.to(q.dtype)
        weights = q.new_empty(len(pages), len(rows), len(pages[0]))
        less = (-reference[:, None]).expand(-1, len(pages[0]))
        for page, into in zip(pages, weights, strict=True):
            torch.addmm(less, rows, page.t(), alpha=scale, out=into)
        total = _sum(weights.exp_(), lse.dtype).sum(0)
        if (total < OUTWEIGHS).all():
            outputs = q.new_empty(len(pages), len(rows), rank)
            for page, some, into in zip(pages, weights, outputs, strict=True):
                torch.mm(some, page[:, :rank], out=into)
            new, joined = _with_before(outputs.sum(0, dtype=o.dtype), total, flat_o, flat_lse, reference)
            return new.view_as(o), joined.view_as(lse)
    for page in pages:
        o, lse = extend_latents(o, lse, q, page, rank, scale)
    return o, lse


def attend_pages(q: Tensor, pages: Sequence[Tensor], rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """`attend_latents` over latents in pieces: q [H, T, R+P] -> (o float32 [H, T, R], lse [H, T])."""
    assert pages, "there is nothing to attend to"
    o, lse = attend_latents(q, pages[0], rank, scale)
    return extend_pages(o.to(lse.dtype), lse, q, pages[1:], rank, scale, before=1)


def attend_batch(
    q: Tensor, pages: Sequence[Tensor], own: Tensor, seen: Tensor, rank: int, scale: float
) -> tuple[Tensor, Tensor]:
    """One absorbed query of each row over pages that all rows share, and the row's own latents behind them.

    q [H, B, R+P], own [B, S, R+P], of which row b sees the first seen[b] (at least 1) -> (o [H, B, R], lse [H, B]).
    """
    o, lse = attend_rows(q, own, seen, rank, scale)
    return extend_pages(o, lse, q, pages, rank, scale)


def attend_rows(q: Tensor, latents: Tensor, seen: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of one absorbed query of each row over that row's own latents, of which it sees the first `seen`.

    q [H, B, R+P], latents [B, S, R+P], seen int64 [B] (at least 1) -> (o float32 [H, B, R], lse float32 [H, B]).
    """
    scores = torch.matmul(q.transpose(0, 1), latents.transpose(-1, -2)).float() * scale  # [B, H, S]
    hidden = torch.arange(latents.shape[1], device=q.device) >= seen[:, None]
    scores = scores.masked_fill(hidden[:, None], float("-inf"))
    lse = torch.logsumexp(scores, -1)
    weights = torch.exp(scores - lse[..., None]).to(latents.dtype)
    o = torch.matmul(weights, latents[..., :rank]).float()
    return o.transpose(0, 1), lse.transpose(0, 1)


def unabsorb(o: Tensor, kv_up: Tensor, nope: int) -> Tensor:
    """Values from attended latents: o [H, T, R] -> [H, T, V]."""
    return o @ kv_up[:, nope:].to(o.dtype).transpose(-1, -2)
