"""The short causal convolution in front of KDA: depthwise, followed by SiLU, carrying its tail from call to call."""

import torch
import torch.nn.functional as F
from torch import Tensor


def short_conv(x: Tensor, weight: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """SiLU of a causal depthwise convolution over time.

    x [T, C], weight [C, W] (W taps, the last one on the token itself), tail [W-1, C]: the inputs before x, zeros at
    the start of a document. Returns (y [T, C], the next tail [W-1, C]), both in x's dtype.
    """
    window = torch.cat([tail, x])  # [W-1 + T, C]
    if x.shape[0] == 1:
        y = (window.float() * weight.float().t()).sum(0, keepdim=True)
    else:
        y = F.conv1d(window.t()[None], weight[:, None], groups=weight.shape[0])[0].t().float()
    return F.silu(y).to(x.dtype), window[x.shape[0] :].clone()
