"""Root-mean-square norms, computed in float32 and returned in the input's dtype."""

import torch
from torch import Tensor

from kernels import backend


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last dimension.

    x [..., D], weight [D] -> [..., D]. Zhang and Sennrich, 2019 (arXiv 1910.07467).
    """
    if backend.use_triton(x):
        from kernels import norm_triton

        return norm_triton.rms_norm(x, weight, eps)
    return (x * _inverse_rms(x, eps)).mul_(weight).to(x.dtype)


def add_rms_norm(x: Tensor, delta: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The residual and its norm: (x + delta, its RMS norm times weight), all [..., D] in x's dtype."""
    if backend.use_triton(x):
        from kernels import norm_triton

        return norm_triton.add_rms_norm(x, delta, weight, eps)
    total = x + delta
    return total, rms_norm(total, weight, eps)


def gated_rms_norm(x: Tensor, gate: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm over the last dimension, times sigmoid(gate): KDA's output norm.

    x [..., V] (any float dtype), gate [..., V], weight [V] -> [..., V] in gate's dtype. Kimi Linear (arXiv 2510.26692).
    """
    if backend.use_triton(x):
        from kernels import norm_triton

        return norm_triton.gated_rms_norm(x, gate, weight, eps)
    return (x * _inverse_rms(x, eps)).mul_(weight).mul_(torch.sigmoid(gate.float())).to(gate.dtype)


def l2_norm(x: Tensor, eps: float = 1e-6) -> Tensor:
    """x / sqrt(sum(x^2) + eps) over the last dimension, in float32. x [..., K] -> float32 [..., K]."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return x * torch.rsqrt(length * length + eps)


def _inverse_rms(x: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean(x^2) + eps) over the last dimension, float32 [..., 1]; times x it makes float32 of any x."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.rsqrt(length * length / x.shape[-1] + eps)
