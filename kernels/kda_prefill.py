"""KDA over many tokens as one operation: norms, gates and the chunked delta rule, from raw projections to outputs.

What it computes, in plain PyTorch, and the choice of its drop-ins: `kda_prefill_triton` for tensors on a GPU,
`kda_prefill_numba` on a processor.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from kernels import backend, kda, norm

Form = Callable[..., tuple[Any, ...]]
"""Of `prefill`, or of the recurrence in it."""

RECURRENT_BELOW = 4
"""Fewer tokens than this go through the recurrence: a chunk costs as much as several steps."""

MANY = 512
"""Tokens from which on a processor's own kernel reads them. It takes a third of the time at any length, but Numba takes
half a second to come, and so much a question is asked in: it does not wait for that. Which of them reads depends on the
tokens alone, never on what a process has done before."""


def prefill(
    q: Tensor, k: Tensor, v: Tensor, raw: Tensor, beta: Tensor,
    a_log: Tensor, dt_bias: Tensor, state: Tensor, save_at: Sequence[int] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Read T tokens into the state.

    q, k [T, H, K] and v [T, H, V] as the convolution leaves them, raw [T, H, K] (the gate before its softplus), beta
    [T, H] before its sigmoid, a_log [H], dt_bias [H, K], state float32 [H, K, V]; save_at: ascending numbers of tokens.
    Returns (o [T, H, V] in the state's dtype or v's, the new state, saved [len(save_at), H, K, V]: the state after that
    many tokens).
    With a leading batch dimension on the five inputs and on `state`, the sequences go side by side.
    """
    check_places(save_at, q.shape[-3])
    return _form(v, state)(q, k, v, raw, beta, a_log, dt_bias, state, save_at)


def _form(v: Tensor, state: Tensor) -> Form:
    if backend.use_triton(v):
        from kernels import kda_prefill_triton

        return kda_prefill_triton.prefill
    if v.shape[-3] >= MANY and backend.has_numba():
        from kernels import kda_prefill_numba

        if kda_prefill_numba.takes(v, state):
            return kda_prefill_numba.prefill
    return reference


def reference(
    q: Tensor, k: Tensor, v: Tensor, raw: Tensor, beta: Tensor,
    a_log: Tensor, dt_bias: Tensor, state: Tensor, save_at: Sequence[int] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """`prefill` by `kda.chunked` or, of a few tokens, `kda.recurrent`, in the dtype of `state`."""
    return by_pieces(_scan, q, k, v, raw, beta, a_log, dt_bias, state, save_at)


def _scan(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    scan = kda.recurrent if len(q) < RECURRENT_BELOW else kda.chunked
    return scan(norm.l2_norm(q) * q.shape[-1] ** -0.5, norm.l2_norm(k), v, g, beta, state)


def by_pieces(
    scan: Form, q: Tensor, k: Tensor, v: Tensor, raw: Tensor, beta: Tensor,
    a_log: Tensor, dt_bias: Tensor, state: Tensor, save_at: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """`prefill` by a form of `kda.recurrent` that normalises q and k, from one place of `save_at` to the next."""
    if q.dim() == 4:
        parts = [
            by_pieces(scan, q[n], k[n], v[n], raw[n], beta[n], a_log, dt_bias, state[n], save_at) for n in range(len(q))
        ]
        o, state, saved = (torch.stack(part) for part in zip(*parts, strict=True))
        return o, state, saved
    g = kda.gate(raw, a_log, dt_bias)
    beta = torch.sigmoid(beta.float())
    outs, saved_states = [], []
    for start, end in pairwise([0, *save_at, q.shape[0]]):
        if end > start:
            piece = slice(start, end)
            o, state = scan(q[piece], k[piece], v[piece], g[piece], beta[piece], state)
            outs.append(o)
        saved_states.append(state)
    saved_states.pop()  # the end of all tokens is the new state
    saved = torch.stack(saved_states) if saved_states else state.new_empty(0, *state.shape)
    return torch.cat(outs) if len(outs) > 1 else outs[0], state, saved


def check_places(save_at: Sequence[int], tokens: int) -> None:
    """Raises ValueError unless `save_at` ascends within 1..tokens."""
    if list(save_at) != sorted(set(save_at)) or any(not 0 < place <= tokens for place in save_at):
        raise ValueError(f"states are saved after ascending numbers of tokens, 1 to {tokens}, not at {list(save_at)}")
