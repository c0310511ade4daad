"""Kimi Delta Attention: gate, recurrence and chunked form (Kimi Linear, arXiv 2510.26692, sections 3 and 4).

For each head, with the state S [K, V] carried in float32:

    S <- diag(exp(g_t)) S                   decay, one rate per key channel, g_t <= 0 and unbounded below
    S <- S + beta_t k_t (v_t - k_t^T S)^T   delta rule
    o_t = q_t^T S

`recurrent` is that, token by token. `chunked` gives the same result a chunk of 64 tokens at a time. Both take the gate
as log-decay. In `chunked` every exponent is a sum of gates, never a difference of two sums: it cannot be positive, so
nothing overflows, and it does not lose the small decays that follow a huge one (see `_decayed_scores`).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64
SPAN = 8 * CHUNK  # worked on at once: its intermediates stay in a processor's cache
BLOCK = 16  # rows of a chunk's triangular system solved at once
SMALL = 8  # tokens whose scores are one product, without building them up from smaller blocks
LOG2_E = math.log2(math.e)


def gate(raw: Tensor, a_log: Tensor, dt_bias: Tensor) -> Tensor:
    """The log-decay g = -exp(a_log) * softplus(raw + dt_bias), in float32, linear above 20.

    raw [T, H, K], a_log [H], dt_bias [H, K] -> float32 [T, H, K], every element <= 0.
    """
    return -torch.exp(a_log.float())[:, None] * F.softplus(raw.float() + dt_bias.float(), threshold=20.0)


def recurrent(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence itself, one token after another, in the dtype of `state` (float32, or float64 to check others).

    q, k [T, H, K] (normalised, q scaled), v [T, H, V], g [T, H, K], beta [T, H], state [H, K, V].
    Returns (o [T, H, V], the new state [H, K, V]); the given state is not changed.
    """
    q, k, v, g, beta = (x.to(state.dtype) for x in (q, k, v, g, beta))
    out = torch.empty(v.shape, dtype=state.dtype, device=v.device)
    for t in range(q.shape[0]):
        state = state * torch.exp(g[t])[..., None]
        error = v[t][:, None] - torch.bmm(k[t][:, None], state)  # [H, 1, V]
        state = torch.baddbmm(state, k[t][..., None], beta[t][:, None, None] * error)
        out[t] = torch.bmm(q[t][:, None], state)[:, 0]
    return out, state


def chunked(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence over chunks of 64 tokens (the WY form); same arguments and results as `recurrent`."""
    outs = []
    for start in range(0, q.shape[0], SPAN):
        span = slice(start, start + SPAN)
        out, state = _chunked_span(q[span], k[span], v[span], g[span], beta[span], state)
        outs.append(out)
    return torch.cat(outs) if len(outs) > 1 else outs[0], state


def _chunked_span(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """`chunked` over one span. Padding to a whole chunk is exact: a padded token has k = 0, beta = 0 and g = 0, which
    leaves the state as it is."""
    tokens, keys, values = q.shape[0], k.shape[-1], v.shape[-1]
    q, k, v, g, beta = (_to_chunks(x, state.dtype) for x in (q, k, v, g, beta[..., None]))  # each [H, N, C, .]
    prefix, suffix, scores = _decayed_scores(q, k, g)
    targets = torch.cat([v, k * prefix], -1).mul_(beta)
    solved = _solve(torch.tril(scores[:, :, 1] * beta, -1), targets)

    # What every token takes from the state (for its own correction, for its output), and what it gives to the state
    # and to the outputs of its chunk: two products a chunk.
    take = torch.cat([solved[..., values:], q * prefix], -2)  # [H, N, 2C, K]
    give = torch.cat([(k * suffix).transpose(-1, -2), scores[:, :, 0]], -2)  # [H, N, K+C, C]
    total = prefix[:, :, -1, :, None]
    out = v  # its values are used up
    for n in range(out.shape[1]):
        correction, past = torch.bmm(take[:, n], state).split(CHUNK, -2)
        to_state, own = torch.bmm(give[:, n], solved[:, n, :, :values] - correction).split([keys, CHUNK], -2)
        torch.add(past, own, out=out[:, n])
        state = torch.addcmul(to_state, state, total[:, n])
    return out.flatten(1, 2).transpose(0, 1)[:tokens], state


def _to_chunks(x: Tensor, dtype: torch.dtype) -> Tensor:
    """[T, H, X] -> a copy [H, N, C, X] in `dtype`, padded with zeros to whole chunks."""
    tokens, heads, width = x.shape
    chunks = x.new_empty(heads, -(-tokens // CHUNK), CHUNK, width, dtype=dtype)
    flat = chunks.view(heads, -1, width)
    flat[:, :tokens] = x.transpose(0, 1)
    flat[:, tokens:] = 0
    return chunks


def _solve(system: Tensor, targets: Tensor) -> Tensor:
    """x of (I + system) x = targets by forward substitution, a block of rows at a time.

    system [..., C, C], zero on its diagonal and above, targets [..., C, X] -> [..., C, X].
    """
    eye = torch.eye(BLOCK, dtype=system.dtype, device=system.device)
    solved = torch.empty_like(targets)
    for start in range(0, CHUNK, BLOCK):
        own = slice(start, start + BLOCK)
        inverse = torch.linalg.solve_triangular(system[..., own, own], eye, upper=False, unitriangular=True)
        rest = targets[..., own, :]
        if start:
            rest = rest - system[..., own, :start] @ solved[..., :start, :]
        solved[..., own, :] = inverse @ rest
    return solved


def _decayed_scores(q: Tensor, k: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """scores[r, i, j] = sum over channels of x_i * k_j * exp(g_{j+1} + ... + g_i) for j <= i, else 0; x is q, then k.

    q, k and g [H, N, C, K]. Returns the decays prefix [H, N, C, K], from the chunk's start through each token, and
    suffix, from after each token to the chunk's end, and scores [H, N, 2, C, C].

    Built bottom-up: two neighbouring blocks of s tokens become one of 2s. A row of the right block meets a key of the
    left block through their boundary: the decay from the boundary through i times the decay from j to the boundary.
    Both are products of numbers in [0, 1], so nothing overflows, and if one underflows, so does the true product.
    """
    # exp2 is PyTorch's fastest. One token's decay is kept above 3e-8 (in float32), which beside 1 is nothing, so that a
    # product of SMALL / 2 of them is still far from where numbers lose their precision, and can be divided by.
    prefix = torch.exp2(g * LOG2_E).clamp_min_(torch.finfo(g.dtype).max ** (-1 / (SMALL / 2 + 1.1)))
    suffix = torch.ones_like(prefix)
    scores = q.new_zeros(*q.shape[:2], 2, CHUNK, CHUNK)
    size = 1
    while size < CHUNK:
        if size == SMALL // 2:
            _write_small_scores(scores, q, k, prefix, suffix)
        elif size >= SMALL:
            _write_cross_scores(scores, q, k, prefix, suffix, size)
        _merge(prefix, suffix, size)
        size *= 2
    return prefix, suffix, scores


def _merge(prefix: Tensor, suffix: Tensor, size: int) -> None:
    """From decays within blocks of `size` tokens to those within blocks of twice the size, in place.

    Floored far below what can matter: denormal numbers are slow.
    """
    left, right = prefix.unflatten(-2, (-1, 2, size)).unbind(-3)  # each [..., pairs, s, K]
    for changed, other in (suffix.unflatten(-2, (-1, 2, size))[..., 0, :, :], right), (right, left):
        changed.mul_(other[..., -1:, :])
        if size >= SMALL // 2:
            changed.clamp_min_(1e-30)


def _write_cross_scores(scores: Tensor, q: Tensor, k: Tensor, prefix: Tensor, suffix: Tensor, size: int) -> None:
    """Rows of each right block of `size` tokens against the keys of the block left of it."""
    pairs = (-1, 2, size)
    q, k, prefix, suffix = (x.unflatten(-2, pairs) for x in (q, k, prefix, suffix))  # [H, N, pairs, 2, s, K]
    right = _rows(q[..., 1, :, :], k[..., 1, :, :], prefix[..., 1, :, :])
    left = k[..., 0, :, :] * suffix[..., 0, :, :]
    blocks = scores.unflatten(-1, pairs).unflatten(-4, pairs)[..., 1, :, :, 0, :]  # [H, N, 2, pairs, s, pairs, s]
    _copy_blocks(blocks, right @ left.transpose(-1, -2), size)


def _write_small_scores(scores: Tensor, q: Tensor, k: Tensor, prefix: Tensor, suffix: Tensor) -> None:
    """All scores within blocks of SMALL tokens, given the decays within their halves.

    Here the decay between any two tokens is the quotient of their decays to the block's middle. Above the diagonal it
    may overflow; what stands there is dropped.
    """
    blocks = (-1, 2, SMALL // 2)
    up = prefix.clone()  # from the middle to each token: of those left of it, the inverse
    torch.reciprocal(suffix.unflatten(-2, blocks)[..., 0, :, :], out=up.unflatten(-2, blocks)[..., 0, :, :])
    q, k, up, keys = (x.unflatten(-2, (-1, SMALL)) for x in (q, k, up, k / up))  # [H, N, blocks, s, K]
    products = _rows(q, k, up) @ keys.transpose(-1, -2)
    lower = products.unflatten(-2, (2, SMALL)).tril_().flatten(-3, -2)
    _copy_blocks(scores.unflatten(-1, (-1, SMALL)).unflatten(-3, (-1, SMALL)), lower, SMALL)


def _rows(q: Tensor, k: Tensor, decay: Tensor) -> Tensor:
    """q * decay above k * decay: each [..., s, K] -> [..., 2s, K]."""
    rows = q.new_empty(*q.shape[:-2], 2, *q.shape[-2:])
    torch.mul(q, decay, out=rows[..., 0, :, :])
    torch.mul(k, decay, out=rows[..., 1, :, :])
    return rows.flatten(-3, -2)


def _copy_blocks(blocks: Tensor, products: Tensor, size: int) -> None:
    """products [H, N, B, 2s, s] onto the diagonal of blocks [H, N, 2, B, s, B, s]."""
    blocks.diagonal(dim1=-4, dim2=-2).copy_(products.unflatten(-2, (2, size)).permute(0, 1, 3, 4, 5, 2))
