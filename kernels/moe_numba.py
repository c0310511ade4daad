"""The feed-forward half of a layer for one token, by Numba: drop-in for `moe.route` and `moe.mixture`, or a dense
`moe.swiglu`, with the norm in front."""
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False

from typing import Any, NamedTuple

import numpy as np

from kernels.linear_numba import Stored, dense, given, rms_norm, times
from kernels.numbers_numba import kernel, sigmoid


class MoEWeights(NamedTuple):
    """Router [E, D] and bias [E]; gate_up [E, 2I, D] and down [E, D, I] of the experts, stored; those of the shared
    expert [2J, D] and [D, J]; before [D]: the norm in front, and its eps; how experts are chosen and weighed."""

    before: Any
    router: Any
    bias: Any
    gate_up: Stored
    down: Stored
    shared_gate_up: Stored
    shared_down: Stored
    top_k: int
    renormalize: bool
    scaling: float
    eps: Any


class DenseWeights(NamedTuple):
    """A dense layer's gate_up [2I, D] and down [D, I], stored; before [D] and eps: the norm in front."""

    before: Any
    gate_up: Stored
    down: Stored
    eps: Any


@kernel
def layer(x, w):
    """x += MoE(norm(x)), in place. x float32 [D], w MoEWeights."""
    token = given(rms_norm(x, w.before, w.eps))
    weights, chosen = route(token.x, w.router, w.bias, w.top_k, w.renormalize, w.scaling)
    _add_expert(x, token, w.shared_gate_up, w.shared_down, np.float32(1.0))
    for n in range(w.top_k):
        e = chosen[n]
        gate_up = Stored(w.gate_up.q[e], w.gate_up.scale[e], w.gate_up.zero[e])
        _add_expert(x, token, gate_up, Stored(w.down.q[e], w.down.scale[e], w.down.zero[e]), weights[n])


@kernel
def dense_layer(x, w):
    """x += down(silu(gate) * up) of norm(x), in place. x float32 [D], w DenseWeights."""
    _add_expert(x, given(rms_norm(x, w.before, w.eps)), w.gate_up, w.down, np.float32(1.0))


@kernel
def route(x, router, bias, top_k, renormalize, scaling):
    """`moe.route` of one token: (weights float32 [top_k], experts int64 [top_k], the best first)."""
    scores = np.empty(len(bias), np.float32)
    dense(router, x, scores)
    for e in range(len(scores)):
        scores[e] = sigmoid(scores[e])
    left = scores + bias
    weights, chosen, total = np.empty(top_k, np.float32), np.empty(top_k, np.int64), np.float32(1e-20)
    for n in range(top_k):
        best = np.argmax(left)
        chosen[n], weights[n] = best, scores[best]
        total += scores[best]
        left[best] = -np.inf
    for n in range(top_k):
        weights[n] *= np.float32(scaling) / (total if renormalize else np.float32(1.0))
    return weights, chosen


@kernel
def _add_expert(x, token, gate_up, down, weight):
    """x += weight * down(silu(gate) * up) of the token."""
    both = np.empty(gate_up.scale.shape[0], np.float32)
    times(gate_up, token, both)
    half = len(both) // 2
    inner, result = np.empty(half, np.float32), np.empty(len(x), np.float32)
    for n in range(half):
        inner[n] = both[n] * sigmoid(both[n]) * both[half + n] * weight
    times(down, given(inner), result)
    for n in range(len(x)):
        x[n] += result[n]
