"""KDA over many tokens on a processor, by Numba: the recurrence itself, token after token. Drop-in for
`kda_prefill.reference`.

A head's state is 16 kB, which stay in the cache, and a token some hundred vector operations on it. So the recurrence is
four times as fast as its chunked form, whose many small products gain what they do only where they fill a GPU.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels import kda_prefill
from kernels.numbers_numba import bits, kernel, wide

_BESIDE = ThreadPoolExecutor(thread_name_prefix="heads")


def prefill(
    q: Tensor, k: Tensor, v: Tensor, raw: Tensor, beta: Tensor,
    a_log: Tensor, dt_bias: Tensor, state: Tensor, save_at: Sequence[int] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kda_prefill.prefill`; the outputs are float32, as the state is."""
    return kda_prefill.by_pieces(scan, q, k, v, raw, beta, a_log, dt_bias, state, save_at)


def takes(v: Tensor, state: Tensor) -> bool:
    """Whether these are numbers that the kernel knows."""
    return v.is_cpu and v.dtype in (torch.bfloat16, torch.float32) and state.dtype == torch.float32


def scan(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """`kda.recurrent` of q and k that are not yet normalised nor scaled. The heads are shared out among the threads,
    which changes no number."""
    state, out = state.clone(memory_format=torch.contiguous_format), torch.empty(v.shape)  # both changed in place
    # contiguous, so that the kernel is compiled once for all strides
    arrays: list[Any] = [bits(x.contiguous()) for x in (q, k, v, torch.exp(g), beta, state, out)]
    heads = q.shape[1]
    parts = min(torch.get_num_threads(), heads)
    cuts = [heads * n // parts for n in range(parts + 1)]
    others = [_BESIDE.submit(scan_heads, *[*arrays, *part]) for part in pairwise(cuts[1:])]
    scan_heads(*arrays, 0, cuts[1])
    for other in others:
        other.result()
    return out, state


@kernel
def scan_heads(q, k, v, decay, strength, state, out, first, last):
    """`kda.recurrent` of the heads first..last-1, in place.

    q, k [T, H, K] and v [T, H, V], float32 or uint16 (the bits of bfloat16), q and k not yet normalised nor scaled;
    decay float32 [T, H, K], strength float32 [T, H], state float32 [H, K, V], out float32 [T, H, V].
    """
    tokens, _, keys = q.shape
    values = state.shape[2]
    turned = np.empty((values, keys), np.float32)  # the sums are over keys: so they are in a row
    qs, ks, ds, faded = (np.empty(keys, np.float32), np.empty(keys, np.float32), np.empty(keys, np.float32),
                         np.empty(keys, np.float32))
    for h in range(first, last):
        for n in range(keys):
            for m in range(values):
                turned[m, n] = state[h, n, m]
        for t in range(tokens):
            q_squares = k_squares = np.float32(1e-6)
            for n in range(keys):
                qs[n], ks[n], ds[n] = wide(q[t, h, n]), wide(k[t, h, n]), decay[t, h, n]
                q_squares += qs[n] * qs[n]
                k_squares += ks[n] * ks[n]
            q_scale = np.float32(1.0) / np.sqrt(q_squares * np.float32(keys))
            k_scale = np.float32(1.0) / np.sqrt(k_squares)
            for n in range(keys):
                qs[n] *= q_scale
                ks[n] *= k_scale
                faded[n] = ks[n] * ds[n]
            for m in range(values):
                known = np.float32(0.0)
                for n in range(keys):
                    known += faded[n] * turned[m, n]
                error = strength[t, h] * (wide(v[t, h, m]) - known)
                o = np.float32(0.0)
                for n in range(keys):
                    now = ds[n] * turned[m, n] + ks[n] * error
                    turned[m, n] = now
                    o += qs[n] * now
                out[t, h, m] = o
        for n in range(keys):
            for m in range(values):
                state[h, n, m] = turned[m, n]
