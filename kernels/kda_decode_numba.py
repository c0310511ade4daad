"""A whole KDA layer for one more token of one document, by Numba: drop-in for `kda_decode.reference`, with the matrices
around it."""
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False

from typing import Any, NamedTuple

import numpy as np

from kernels.linear_numba import Stored, dense, given, rms_norm, times
from kernels.numbers_numba import exp, kernel, narrow, sigmoid, wide


class KDAWeights(NamedTuple):
    """A layer's weights, float32 but for what is stored on grids. input: the stored rows of q, k, v and the gates'
    first factors; rest [H, D]: beta's; decay_up and gate_up [H K, K]; conv [W, 3 H K]; rate [H]: -exp(A_log); dt_bias
    [H K]; norm [V]; output: stored [D, H V]; before [D]: the norm in front; eps of both norms."""

    before: Any
    input: Stored
    rest: Any
    decay_up: Any
    gate_up: Any
    conv: Any
    rate: Any
    dt_bias: Any
    norm: Any
    output: Stored
    eps: Any


@kernel
def layer(x, w, tail, state):
    """x += KDA(norm(x)), and the state moves on, all in place. x float32 [D], w KDAWeights, tail [W-1, 3 H K] (uint16,
    the bits of bfloat16, or float32), state float32 [H, K, V]."""
    heads, keys, values = state.shape
    channels = heads * keys
    token = given(rms_norm(x, w.before, w.eps))
    projected = np.empty(w.input.scale.shape[0], np.float32)
    times(w.input, token, projected)
    beta, raw, gate = np.empty(heads, np.float32), np.empty(channels, np.float32), np.empty(channels, np.float32)
    dense(w.rest, token.x, beta)
    dense(w.decay_up, projected[3 * channels : 3 * channels + keys], raw)
    dense(w.gate_up, projected[3 * channels + keys : 3 * channels + 2 * keys], gate)
    o = np.empty(heads * values, np.float32)
    decode(projected[: 3 * channels], raw, gate, beta, w.conv, w.rate, w.dt_bias, w.norm, w.eps, tail, state, o)
    delta = np.empty(len(x), np.float32)
    times(w.output, given(o), delta)
    for n in range(len(x)):
        x[n] += delta[n]


@kernel
def decode(qkv, raw, gate, beta, conv, rate, dt_bias, weight, eps, tail, state, out):
    """`kda_decode.reference` of one document, in place: qkv [3 H K], raw and gate [H K], beta [H], rest as in `layer`;
    out [H V]."""
    heads, keys, values = state.shape
    mixed = _short_conv(qkv, conv, tail)
    q, k, decay = np.empty(keys, np.float32), np.empty(keys, np.float32), np.empty(keys, np.float32)
    error, o = np.empty(values, np.float32), np.empty(values, np.float32)
    for h in range(heads):
        q_squares = k_squares = np.float32(1e-6)
        for n in range(keys):
            q[n], k[n] = mixed[h * keys + n], mixed[(heads + h) * keys + n]
            q_squares += q[n] * q[n]
            k_squares += k[n] * k[n]
            rise = raw[h * keys + n] + dt_bias[h * keys + n]
            soft = rise if rise > np.float32(20.0) else np.log1p(np.exp(rise))
            decay[n] = exp(rate[h] * soft)
        q_scale = np.float32(1.0) / np.sqrt(q_squares * np.float32(keys))
        k_scale = np.float32(1.0) / np.sqrt(k_squares)
        strength = sigmoid(beta[h])
        error[:] = 0
        for n in range(keys):
            kn, dn = k[n] * k_scale, decay[n]
            for v in range(values):
                state[h, n, v] *= dn
                error[v] += kn * state[h, n, v]
        for v in range(values):
            error[v] = strength * (mixed[(2 * heads + h) * keys + v] - error[v])
        o[:] = 0
        for n in range(keys):
            kn, qn = k[n] * k_scale, q[n] * q_scale
            for v in range(values):
                state[h, n, v] += kn * error[v]
                o[v] += qn * state[h, n, v]
        squares = np.float32(0.0)
        for v in range(values):
            squares += o[v] * o[v]
        scale = np.float32(1.0) / np.sqrt(squares / np.float32(values) + eps)
        for v in range(values):
            out[h * values + v] = o[v] * scale * weight[v] * sigmoid(gate[h * values + v])


@kernel
def _short_conv(x, conv, tail):
    """`conv.short_conv` of one token x [C]; the tail moves on in place."""
    taps, channels = conv.shape
    mixed = np.empty(channels, np.float32)
    for c in range(channels):
        # the next tokens see it as it is stored, so this one does
        total = conv[taps - 1, c] * wide(narrow(x[c], tail[0, 0]))
        for n in range(taps - 1):
            total += conv[n, c] * wide(tail[n, c])
        mixed[c] = total
    for c in range(channels):
        mixed[c] *= sigmoid(mixed[c])
    for n in range(taps - 2):
        tail[n, :] = tail[n + 1, :]
    for c in range(channels):
        tail[taps - 2, c] = narrow(x[c], tail[0, 0])
    return mixed
