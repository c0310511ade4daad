"""Mixture of experts: a sigmoid router with a bias that only chooses, and SwiGLU experts.

DeepSeek-V3 (arXiv 2412.19437, section 2.1.2), which Kimi Linear follows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.linear import linear
from kernels.quant import Weights, dequantize, each

EVEN = 8
"""In bfloat16 an expert's places come at least in this many. It changed no bit where it was measured (AVX-512): there a
row's product is the same among any number of rows, unlike in float32."""


def route(
    x: Tensor, weight: Tensor, bias: Tensor, top_k: int, renormalize: bool, scaling: float
) -> tuple[Tensor, Tensor]:
    """Choose experts for each token: by score + bias, weighted by score alone, in float32.

    x [T, D], weight [E, D], bias [E] -> (weights float32 [T, top_k], experts int64 [T, top_k]).
    """
    scores = torch.sigmoid(F.linear(x.float(), weight.float()))
    chosen = torch.topk(scores + bias.float(), top_k, dim=-1, sorted=False).indices
    weights = scores.gather(-1, chosen)
    if renormalize:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    return weights * scaling, chosen


def swiglu(x: Tensor, gate_up: Tensor, down: Tensor, weight: Tensor | None = None) -> Tensor:
    """down(silu(gate x) * up x). x [T, D], gate_up [2I, D] (gate first), down [D, I] -> [T, D].

    weight [T], if given, multiplies each token's result; it does so before `down`, where a token has fewer numbers.
    """
    gate, up = linear(x, gate_up).chunk(2, -1)
    inner = F.silu(gate) * up
    if weight is not None:
        inner = (inner * weight[:, None]).to(x.dtype)
    return linear(inner, down)


def experts(x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """The weighted sum of each token's chosen experts.

    x [T, D], weights float32 and chosen [T, top_k], gate_up [E, 2I, D], down [E, D, I] -> [T, D] in x's dtype.
    Tokens are sorted by expert, so each expert multiplies once, over all of its tokens. A token's results are added up
    in float32, in the order in which its experts were chosen: two runs agree to the bit.
    """
    if x.shape[0] == 1:
        return _experts_of_one_token(x, weights, chosen, gate_up, down)
    place, ends = _places(chosen.flatten(), gate_up.shape[0], EVEN if x.dtype == torch.bfloat16 else 1)
    token, weight = place.new_zeros(int(ends[-1])), weights.new_zeros(int(ends[-1]), 1)
    token[place] = torch.arange(x.shape[0], device=x.device).repeat_interleave(chosen.shape[1])
    weight[place, 0] = weights.flatten()
    gate, up = _grouped(x.index_select(0, token), gate_up, ends).chunk(2, -1)
    inner = F.silu(gate).mul_(up) * weight
    results = _grouped(inner.to(x.dtype), down, ends)
    return F.embedding_bag(place.view_as(chosen), results, mode="sum")


def _places(chosen: Tensor, experts: int, least: int) -> tuple[Tensor, Tensor]:
    """Where each of chosen [N] stands once they are sorted by expert, and where each expert's places end [E].

    An expert's places are a multiple of a sixteenth of their mean number, or of `least` (a power of two) where that is
    more, and the last of them may be nobody's: PyTorch prepares a product anew for every number of rows that it has not
    met of late, which takes up to a millisecond, and of a question's few tokens nearly every expert has another number.
    """
    order = chosen.argsort(stable=True)
    counts = torch.bincount(chosen, minlength=experts)
    step = max(least, 1 << (len(chosen) // experts // 16).bit_length() >> 1)
    ends = ((counts + step - 1) // step * step).cumsum(0)
    gap = (ends - counts.cumsum(0)).roll(1)  # nobody's places before each expert's first
    gap[0] = 0
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=chosen.device) + gap[chosen[order]]
    return place, ends


def _grouped(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Rows sorted by expert, each times its expert's matrix: x [N, I], weight [E, O, I], ends [E] -> [N, O]."""
    if x.dtype != torch.float64 and x.shape[1] * x.element_size() % 16 == 0:  # what PyTorch's kernel asks for
        return F.grouped_mm(x, weight.transpose(1, 2), offs=ends.to(torch.int32))
    parts = x.tensor_split(ends[:-1].cpu())
    return torch.cat([linear(part, matrix) for part, matrix in zip(parts, weight, strict=True)])


def _experts_of_one_token(x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """`experts` for one token: nothing is sorted or gathered."""
    ids = chosen[0].tolist()
    gate, up = torch.stack([linear(x, gate_up, expert) for expert in ids], 1)[0].chunk(2, -1)
    inner = (F.silu(gate).mul_(up) * weights[0, :, None]).to(x.dtype)
    results = [linear(row, down, expert) for row, expert in zip(inner.split(1), ids, strict=True)]
    return torch.cat(results).sum(0, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32)).to(x.dtype)


def mixture(
    x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Weights, down: Weights, shared: tuple[Weights, Weights]
) -> Tensor:
    """`experts` of weights in any format, and a shared expert (gate_up [2J, D], down [D, J]) for every token.

    Quantised weights are turned back into x's dtype, of the experts only those chosen: what is computed is what they
    stand for.
    """
    if not isinstance(gate_up, Tensor):
        used, chosen = chosen.unique(return_inverse=True)
        gate_up, down = (each(weight, lambda part: part[used]) for weight in (gate_up, down))
    routed = experts(x, weights, chosen, dequantize(gate_up, x.dtype), dequantize(down, x.dtype))
    return routed + swiglu(x, *(dequantize(weight, x.dtype) for weight in shared))
