"""Mixture of experts: a sigmoid router with a bias that only chooses, and SwiGLU experts.

DeepSeek-V3 (arXiv 2412.19437, section 2.1.2), which Kimi Linear follows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.linear import linear


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
    Tokens are sorted by expert, so each expert that was chosen multiplies once, over all of its tokens. Results are
    added up in float32, expert by expert: an order that depends on nothing else, so two runs agree to the bit.
    """
    if x.shape[0] == 1:
        return _experts_of_one_token(x, weights, chosen, gate_up, down)
    order = chosen.flatten().argsort(stable=True)
    token, weight = order // chosen.shape[1], weights.flatten()[order]
    counts = torch.bincount(chosen.flatten(), minlength=gate_up.shape[0]).tolist()
    out = torch.zeros(x.shape, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    start = 0
    for expert, count in enumerate(counts):
        if count:
            own = slice(start, start + count)
            result = swiglu(x[token[own]], gate_up[expert], down[expert], weight[own])
            out.index_add_(0, token[own], result.to(out.dtype))
            start += count
    return out.to(x.dtype)


def _experts_of_one_token(x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """`experts` for one token: its experts side by side are one wide expert, and nothing is sorted or scattered."""
    ids = chosen[0].tolist()
    inner = []
    for expert in ids:
        gate, up = linear(x, gate_up[expert]).chunk(2, -1)
        inner.append(F.silu(gate) * up)
    wide = (torch.stack(inner, 1) * weights[..., None]).to(x.dtype).flatten(1)
    return linear(wide, torch.cat([down[expert] for expert in ids], -1))
