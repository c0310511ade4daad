"""The short causal convolution in front of KDA: depthwise, followed by SiLU, carrying its tail from call to call."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import backend

SPAN = 256
"""Tokens worked on at once: their intermediates stay in a processor's cache."""


def short_conv(x: Tensor, weight: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """SiLU of a causal depthwise convolution over time.

    x [T, C], weight [C, W] (W taps, the last one on the token itself), tail [W-1, C]: the inputs before x, zeros at
    the start of a document. Returns (y [T, C], the next tail [W-1, C]), both in x's dtype.
    """
    if backend.use_triton(x):
        from kernels import conv_triton

        return conv_triton.short_conv(x, weight, tail)
    window = torch.cat([tail, x])  # [W-1 + T, C]
    wide = torch.promote_types(x.dtype, torch.float32)
    if x.shape[0] == 1:
        return F.silu((window.to(wide) * weight.t()).sum(0, keepdim=True)).to(x.dtype), window[1:]
    taps = weight.to(wide).t().contiguous()  # [W, C]
    y = torch.empty_like(x)
    for start in range(0, x.shape[0], SPAN):
        rows = window[start : start + SPAN + len(taps) - 1].to(wide)
        tokens = rows.shape[0] - len(taps) + 1
        total = rows[:tokens] * taps[0]
        for n in range(1, len(taps)):
            total.addcmul_(rows[n : n + tokens], taps[n])
        y[start : start + SPAN] = F.silu(total)
    return y, window[x.shape[0] :].clone()
