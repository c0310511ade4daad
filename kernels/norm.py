"""Root-mean-square norms, computed in float32 and returned in the input's dtype."""

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last dimension.

    x [..., D], weight [D] -> [..., D]. Zhang and Sennrich, 2019 (arXiv 1910.07467).
    """
    return F.rms_norm(x.float(), (x.shape[-1],), weight.float(), eps).to(x.dtype)


def gated_rms_norm(x: Tensor, gate: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm over the last dimension, times sigmoid(gate): KDA's output norm.

    x [..., V] (any float dtype), gate [..., V], weight [V] -> [..., V] in gate's dtype. Kimi Linear (arXiv 2510.26692).
    """
    normed = F.rms_norm(x.float(), (x.shape[-1],), weight.float(), eps)
    return (normed * torch.sigmoid(gate.float())).to(gate.dtype)


def l2_norm(x: Tensor, eps: float = 1e-6) -> Tensor:
    """x / sqrt(sum(x^2) + eps) over the last dimension, in float32. x [..., K] -> float32 [..., K]."""
    x = x.float()
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + eps)
