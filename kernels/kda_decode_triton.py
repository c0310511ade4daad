"""KDA's decode in Triton: one program a document and head, which keeps the whole state of that head in registers.

The state is read once and written once, and everything else is small beside it; with few documents what takes time is
how often the warps must meet. They do for both lengths together, for what k reads of the state, and for what q reads of
the next one.
"""

import torch

# mypy: allow-untyped-defs
import triton
import triton.language as tl
from torch import Tensor

from kernels.kda_chunk_triton import log_decay
from kernels.kda_decode import DecodeWeights
from kernels.launch_triton import let_next, overlap, wait

TILES = {"num_warps": 4}


@triton.jit
def conv_past(weight_ptr, tail_ptr, c, channels, W: tl.constexpr):
    """What the tail adds to the convolution at the newest token, for channels c."""
    total = tl.zeros(c.shape, tl.float32)
    for tap in tl.static_range(W - 1):
        past = tl.load(tail_ptr + tap * channels + c).to(tl.float32)
        total += past * tl.load(weight_ptr + c * W + tap).to(tl.float32)
    return total


@triton.jit
def conv_step(x_ptr, newest, past, c):
    """SiLU of the convolution at its newest token, for channels c. Rounded to x's dtype, as the convolution over many
    tokens leaves it."""
    x = tl.load(x_ptr + c)
    total = past + x.to(tl.float32) * newest
    return (total * tl.sigmoid(total)).to(x.dtype).to(tl.float32)


@triton.jit
def move_tail(x_ptr, tail_ptr, next_ptr, c, channels, W: tl.constexpr):
    """The next tail of channels c: all but the oldest row, and the newest token."""
    for tap in tl.static_range(1, W - 1):
        tl.store(next_ptr + (tap - 1) * channels + c, tl.load(tail_ptr + tap * channels + c))
    tl.store(next_ptr + (W - 2) * channels + c, tl.load(x_ptr + c))


@triton.jit
def _add_two(a, b, c, d):
    """Two sums at once."""
    return a + c, b + d


@triton.jit
def decode_kernel(
    qkv_ptr, raw_ptr, gate_ptr, beta_ptr, conv_ptr, a_log_ptr, bias_ptr, norm_ptr, tail_ptr, state_ptr,
    y_ptr, next_tail_ptr, next_state_ptr, qkv_stride, raw_stride, gate_stride, beta_stride, scale, eps, H,
    K: tl.constexpr, W: tl.constexpr, SETTLED: tl.constexpr, OVERLAP: tl.constexpr,
):
    """One token of document 0 of the grid, head 1. A stride is from document to document; tails and states lie one
    after another, and the next ones may be the same tensors."""
    let_next(OVERLAP)
    h, b = tl.program_id(0), tl.program_id(1).to(tl.int64)
    key = tl.arange(0, K)
    channels = 3 * H * K
    # All that is read is asked for before any of it is needed, weights even before the kernel in front has ended, and
    # what is SETTLED too; what is written comes last.
    weight = tl.load(norm_ptr + key).to(tl.float32)
    bias, a_log = tl.load(bias_ptr + h * K + key), tl.load(a_log_ptr + h)
    q_at, k_at, v_at = h * K + key, (H + h) * K + key, (2 * H + h) * K + key
    q_newest = tl.load(conv_ptr + q_at * W + W - 1).to(tl.float32)
    k_newest = tl.load(conv_ptr + k_at * W + W - 1).to(tl.float32)
    v_newest = tl.load(conv_ptr + v_at * W + W - 1).to(tl.float32)
    if not SETTLED:
        wait(OVERLAP)
    x, tail, after = qkv_ptr + b * qkv_stride, tail_ptr + b * (W - 1) * channels, next_tail_ptr + b * (W - 1) * channels
    at_state = (b * H + h) * K * K + key[:, None] * K + key[None, :]
    state = tl.load(state_ptr + at_state)
    q_past = conv_past(conv_ptr, tail, q_at, channels, W)
    k_past = conv_past(conv_ptr, tail, k_at, channels, W)
    v_past = conv_past(conv_ptr, tail, v_at, channels, W)
    if SETTLED:
        wait(OVERLAP)
    gate = tl.load(gate_ptr + b * gate_stride + h * K + key).to(tl.float32)
    raw = tl.load(raw_ptr + b * raw_stride + h * K + key).to(tl.float32)
    beta = tl.sigmoid(tl.load(beta_ptr + b * beta_stride + h).to(tl.float32))
    q = conv_step(x, q_newest, q_past, q_at)
    k = conv_step(x, k_newest, k_past, k_at)
    v = conv_step(x, v_newest, v_past, v_at)
    decay = tl.exp2(log_decay(raw, bias, a_log))

    length_q, length_k = tl.reduce((q * q, k * k), 0, _add_two)
    q *= tl.rsqrt(length_q + 1e-6) * scale
    k *= tl.rsqrt(length_k + 1e-6)

    state *= decay[:, None]
    error = beta * (v - tl.sum(state * k[:, None], 0))
    state += k[:, None] * error[None, :]
    tl.store(next_state_ptr + at_state, state)

    o = tl.sum(state * q[:, None], 0)
    o *= tl.rsqrt(tl.sum(o * o, 0) / K + eps) * weight * tl.sigmoid(gate)
    tl.store(y_ptr + (b * H + h) * K + key, o.to(y_ptr.dtype.element_ty))
    for part in tl.static_range(3):
        move_tail(x, tail, after, (part * H + h) * K + key, channels, W)


def decode(
    qkv: Tensor, raw: Tensor, gate: Tensor, beta: Tensor, weights: DecodeWeights, tail: Tensor, state: Tensor,
    in_place: bool = False, settled: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """`kda_decode.decode`. K is a power of two from 16 to 128."""
    batch, heads, keys, _ = state.shape
    next_tail, next_state = (tail, state) if in_place else (torch.empty_like(tail), torch.empty_like(state))
    raw, gate = raw.flatten(1), gate.flatten(1)
    y = torch.empty(batch, heads, keys, dtype=gate.dtype, device=gate.device)
    decode_kernel[(heads, batch)](
        qkv, raw, gate, beta, weights.conv, weights.a_log, weights.dt_bias, weights.norm, tail, state,
        y, next_tail, next_state, *(x.stride(0) for x in (qkv, raw, gate, beta)), keys**-0.5, weights.eps, heads,
        K=keys, W=weights.conv.shape[1], SETTLED=settled,
        **(TILES | {"num_warps": max(1, keys * TILES["num_warps"] // 128)}), **overlap(qkv.device),
    )  # fmt: skip
    return y, next_tail, next_state
