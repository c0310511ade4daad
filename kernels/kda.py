"""Kimi Delta Attention: gate, recurrence and chunked form (Kimi Linear, arXiv 2510.26692, sections 3 and 4).

For each head, with the state S [K, V] carried in float32:

    S <- diag(exp(g_t)) S                   decay, one rate per key channel, g_t <= 0 and unbounded below
    S <- S + beta_t k_t (v_t - k_t^T S)^T   delta rule
    o_t = q_t^T S

`recurrent` is that, token by token. `chunked` gives the same result a chunk of 64 tokens at a time. Both take the gate
as log-decay. In `chunked` every exponent is a sum of gates, never a difference of two sums: it cannot be positive, so
nothing overflows, and it does not lose the small decays that follow a huge one (see `_decayed_scores`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64
SPAN = 8 * CHUNK  # worked on at once: its intermediates stay in a processor's cache


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
        error = v[t] - torch.einsum("hk,hkv->hv", k[t], state)
        state = torch.baddbmm(state, k[t][..., None], (beta[t][:, None] * error)[:, None, :])
        out[t] = torch.einsum("hk,hkv->hv", q[t], state)
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
    tokens, dtype = q.shape[0], state.dtype
    q, k, v, g = (_to_chunks(x, dtype) for x in (q, k, v, g))  # each [H, N, C, .]
    beta = _to_chunks(beta[..., None], dtype)  # [H, N, C, 1]

    scores, prefix, suffix = _decayed_scores(torch.stack([q, k]), k, g)
    decay = torch.exp(prefix)  # from the chunk's start up to and with each token
    attention = scores[0]  # [H, N, C, C], lower triangular: what each query takes from each token of its chunk
    system = torch.tril(scores[1] * beta, -1)  # the unit diagonal is implied
    targets = torch.cat([beta * v, beta * k * decay], -1)
    solved = torch.linalg.solve_triangular(system, targets, upper=False, unitriangular=True)
    values, keys = solved.split([v.shape[-1], k.shape[-1]], -1)
    read = q * decay
    write = (k * torch.exp(suffix)).transpose(-1, -2)  # from each token to the chunk's end
    total = decay[:, :, -1, :, None]

    out = torch.empty_like(values)
    for n in range(values.shape[1]):
        new = torch.baddbmm(values[:, n], keys[:, n], state, alpha=-1)
        out[:, n] = torch.baddbmm(attention[:, n] @ new, read[:, n], state)
        state = torch.baddbmm(state * total[:, n], write[:, n], new)
    return out.flatten(1, 2).transpose(0, 1)[:tokens], state


def _to_chunks(x: Tensor, dtype: torch.dtype) -> Tensor:
    """[T, H, X] -> [H, N, C, X] in `dtype`, padded with zeros to whole chunks."""
    if x.shape[0] % CHUNK:
        x = F.pad(x, (0, 0, 0, 0, 0, -x.shape[0] % CHUNK))
    return x.unflatten(0, (-1, CHUNK)).permute(2, 0, 1, 3).to(dtype, memory_format=torch.contiguous_format)


def _decayed_scores(rows: Tensor, k: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """scores[i, j] = sum over channels of rows_i * k_j * exp(g_{j+1} + ... + g_i) for j <= i, else 0.

    rows [2, H, N, C, K] (queries and keys), k and g [H, N, C, K]. Returns (scores [2, H, N, C, C],
    prefix [H, N, C, K]: the sum of g from the chunk's start through each token, suffix: the sum after each token).

    Built bottom-up: two neighbouring blocks of s tokens become one of 2s. A row of the right block meets a key of the
    left block through their boundary: exp(sum from the boundary to i) times exp(sum from j to the boundary). Both
    sums hold only gates, so both factors lie in [0, 1]; if one underflows, so does the true product.
    """
    prefix, suffix = g.clone(), torch.zeros_like(g)
    scores = torch.zeros(*rows.shape[:-1], CHUNK, dtype=g.dtype, device=g.device)
    scores.diagonal(dim1=-2, dim2=-1).copy_((rows * k).sum(-1))
    size = 1
    while size < CHUNK:
        pairs = (-1, 2, size)  # [..., C, K] seen as [..., pairs, left or right, s, K]
        before, after = prefix.unflatten(-2, pairs), suffix.unflatten(-2, pairs)
        a = rows.unflatten(-2, pairs)[..., 1, :, :] * torch.exp(before[..., 1, :, :])
        b = k.unflatten(-2, pairs)[..., 0, :, :] * torch.exp(after[..., 0, :, :])
        # Matrix products of one or two rows cost more to launch than to multiply.
        cross = a @ b.transpose(-1, -2) if size > 2 else (a[..., None, :] * b[..., None, :, :]).sum(-1)
        blocks = scores.unflatten(-1, pairs).unflatten(-4, pairs)[..., 1, :, :, 0, :]  # [..., pairs, s, pairs, s]
        blocks.diagonal(dim1=-4, dim2=-2).copy_(cross.movedim(-3, -1))
        left, right = before[..., 0, -1:, :].clone(), before[..., 1, -1:, :].clone()
        before[..., 1, :, :] += left
        after[..., 0, :, :] += right
        size *= 2
    return scores, prefix, suffix
