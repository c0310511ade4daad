"""KDA for one more token of each of several documents, from the input projection to the output projection.

The drop-in pair: what it computes, in plain PyTorch, and the choice of `kda_decode_triton` for tensors on a GPU.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels import backend, conv, kda, norm


@dataclass(frozen=True)
class DecodeWeights:
    """What a KDA layer has besides its matrices: conv [3*H*K, W], a_log [H], dt_bias [H*K], norm [V], and eps."""

    conv: Tensor
    a_log: Tensor
    dt_bias: Tensor
    norm: Tensor
    eps: float


def decode(
    qkv: Tensor, raw: Tensor, gate: Tensor, beta: Tensor, weights: DecodeWeights, tail: Tensor, state: Tensor,
    in_place: bool = False, settled: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One token for each of B documents: convolution with SiLU, norms, gates, delta rule, output norm.

    qkv [B, 3*H*K], raw (the decay's) and gate (the output's) [B, H, K], beta [B, H], all as projected; tail
    [B, W-1, 3*H*K], state float32 [B, H, K, K]. Returns (y [B, H, K] in gate's dtype, ready for the output matrix, the
    next tail, the next state). With `in_place` the latter two are the given tensors, written over: then nothing is
    allocated that outlives the call, and a CUDA graph can replay it. `settled`: what wrote tail and state has ended, so
    a GPU may read them while the kernels in front still run.
    """
    if backend.use_triton(qkv):
        from kernels.kda_decode_triton import decode as form
    else:
        form = reference
    return form(qkv, raw, gate, beta, weights, tail, state, in_place, settled)


def reference(
    qkv: Tensor, raw: Tensor, gate: Tensor, beta: Tensor, weights: DecodeWeights, tail: Tensor, state: Tensor,
    in_place: bool = False, settled: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """`decode` document by document, out of the functions each step has of its own."""
    heads, keys = state.shape[1:3]
    ys, tails, states = [], [], []
    for n in range(len(qkv)):
        x, new_tail = conv.short_conv(qkv[n : n + 1], weights.conv, tail[n])
        q, k, v = x.unflatten(-1, (3, heads, keys)).unbind(-3)
        g = kda.gate(raw[n : n + 1], weights.a_log, weights.dt_bias.view(heads, keys))
        strength = torch.sigmoid(beta[n : n + 1].float())
        o, new_state = kda.recurrent(norm.l2_norm(q) * keys**-0.5, norm.l2_norm(k), v, g, strength, state[n])
        ys.append(norm.gated_rms_norm(o[0], gate[n], weights.norm, weights.eps))
        tails.append(new_tail)
        states.append(new_state)
    next_tail, next_state = torch.stack(tails), torch.stack(states)
    if in_place:
        next_tail, next_state = tail.copy_(next_tail), state.copy_(next_state)
    return torch.stack(ys), next_tail, next_state
