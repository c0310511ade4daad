"""An MLA layer for one more token of one document, by Numba: the latents are read once, for all heads, scores and
values. Drop-in for `mla.absorb`, `mla.attend_pages` and `mla.unabsorb`, with the matrices around them."""
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False

from typing import Any, NamedTuple

import numpy as np

from kernels.linear_numba import AHEAD, LINE, Stored, given, rms_norm, times
from kernels.numbers_numba import exp2, kernel, narrow, prefetch, wide

BLOCK = 32
"""Latents worked on at once: they stay in a processor's first cache."""

LOG2_E = 1.4426950408889634


class MLAWeights(NamedTuple):
    """query [H (nope+P), D], down [R+P, D] and output [D, H V], stored; up float32 [H, nope+V, R]; the latent's norm
    [R] and its eps; before [D]: the norm in front, and its eps; scale of the scores."""

    before: Any
    query: Stored
    down: Stored
    latent_norm: Any
    latent_eps: Any
    up: Any
    output: Stored
    nope: int
    scale: Any
    eps: Any


@kernel
def begin(x, w, row):
    """The token's latent, into row [R+P] of a page (uint16, the bits of bfloat16, or float32), and its queries, moved
    into latent space: float32 [H, R+P], in units of which 2^score is a key's weight."""
    heads, _, rank = w.up.shape
    width = len(row)
    token = given(rms_norm(x, w.before, w.eps))
    latent = np.empty(width, np.float32)
    times(w.down, token, latent)
    normed = rms_norm(latent[:rank], w.latent_norm, w.latent_eps)
    for n in range(width):
        row[n] = narrow(normed[n] if n < rank else latent[n], row[0])
    each = w.nope + width - rank
    q, absorbed = np.empty(heads * each, np.float32), np.zeros((heads, width), np.float32)
    times(w.query, token, q)
    for h in range(heads):
        for i in range(w.nope):
            for n in range(rank):
                absorbed[h, n] += q[h * each + i] * w.up[h, i, n]
        for n in range(rank, width):
            absorbed[h, n] = q[h * each + w.nope + n - rank]
    return absorbed * np.float32(w.scale * LOG2_E)


@kernel
def attend(q, page, best, total, o):
    """Add a page of latents [S, R+P] to what queries [H, R+P] of `begin` have attended to: best [H], the highest score;
    total [H], the sum of weights relative to it; o [H, R], the weighted sum of latents; all in place."""
    heads, rank = o.shape
    tokens, width = page.shape
    row_bytes = width * page.itemsize
    block, weights = np.empty((BLOCK, width), np.float32), np.empty(BLOCK, np.float32)
    for start in range(0, tokens, BLOCK):
        count = min(BLOCK, tokens - start)
        for t in range(count):
            for line in range(0, row_bytes, LINE):
                prefetch(page, (start + t) * row_bytes + AHEAD + line)
            for n in range(width):
                block[t, n] = wide(page[start + t, n])
        for t in range(count, BLOCK):
            block[t, :] = 0
        for h in range(heads):
            high = best[h]
            for t in range(count):
                score = np.float32(0.0)
                for n in range(width):
                    score += q[h, n] * block[t, n]
                weights[t] = score
                high = max(high, score)
            less = exp2(best[h] - high)
            best[h] = high
            summed = np.float32(0.0)
            for t in range(count):
                weights[t] = exp2(weights[t] - high)
                summed += weights[t]
            for t in range(count, BLOCK):
                weights[t] = 0
            total[h] = total[h] * less + summed
            if less != np.float32(1.0):
                for n in range(rank):
                    o[h, n] *= less
            for t in range(0, BLOCK, 8):
                a, b, c, d = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
                e, f, g, i = weights[t + 4], weights[t + 5], weights[t + 6], weights[t + 7]
                for n in range(rank):
                    o[h, n] += (a * block[t, n] + b * block[t + 1, n] + c * block[t + 2, n] + d * block[t + 3, n]
                                + e * block[t + 4, n] + f * block[t + 5, n] + g * block[t + 6, n]
                                + i * block[t + 7, n])


@kernel
def join(best, total, o, other_best, other_total, other_o):
    """Add what was attended to in other pages, in place: two results of `attend`."""
    for h in range(len(best)):
        high = max(best[h], other_best[h])
        own, other = exp2(best[h] - high), exp2(other_best[h] - high)
        best[h], total[h] = high, total[h] * own + other_total[h] * other
        for n in range(o.shape[1]):
            o[h, n] = o[h, n] * own + other_o[h, n] * other


@kernel
def finish(x, w, total, o):
    """x += output(values), in place, of what all pages gave."""
    heads, rank = o.shape
    values = w.up.shape[1] - w.nope
    joined, delta = np.empty(heads * values, np.float32), np.empty(len(x), np.float32)
    for h in range(heads):
        for v in range(values):
            value = np.float32(0.0)
            for n in range(rank):
                value += w.up[h, w.nope + v, n] * o[h, n]
            joined[h * values + v] = value / total[h]
    times(w.output, given(joined), delta)
    for n in range(len(x)):
        x[n] += delta[n]
