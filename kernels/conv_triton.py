"""The short convolution in Triton: `conv.short_conv`, reading its input once and leaving the next tail behind."""

import torch

# mypy: allow-untyped-defs
import triton
import triton.language as tl
from torch import Tensor

TOKENS, CHANNELS = 32, 128
"""One program's tile."""


@triton.jit
def conv_kernel(
    x_ptr, weight_ptr, tail_ptr, y_ptr, next_ptr, tokens, channels, x_stride,
    W: tl.constexpr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr,
):
    """y [T, C] and the next tail [W-1, C] of x [T, C] (rows `x_stride` apart) behind tail [W-1, C]."""
    c = (tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    t = (tl.program_id(1) * TOKENS + tl.arange(0, TOKENS)).to(tl.int64)[:, None]
    channel, inside = c < channels, (c < channels) & (t < tokens)
    total = tl.zeros((TOKENS, CHANNELS), tl.float32)
    for tap in tl.static_range(W):
        source = t + tap - (W - 1)  # a token before the first is a row of the tail
        x = tl.load(x_ptr + source * x_stride + c, mask=inside & (source >= 0), other=0.0)
        if tl.program_id(1) == 0:
            x += tl.load(tail_ptr + (source + W - 1) * channels + c, mask=inside & (source < 0), other=0.0)
        total += x.to(tl.float32) * tl.load(weight_ptr + c * W + tap, mask=channel, other=0.0).to(tl.float32)
        if tap > 0 and tl.program_id(1) == tl.num_programs(1) - 1:
            # what the last token reads besides the oldest input is the next tail
            row = next_ptr + (tap - 1) * channels + c + 0 * t
            tl.store(row, x, mask=inside & (t == tokens - 1))
    y = total * tl.sigmoid(total)
    tl.store(y_ptr + t * channels + c, y.to(y_ptr.dtype.element_ty), mask=inside)


def short_conv(x: Tensor, weight: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """`conv.short_conv`; x may be a view with rows apart."""
    tokens, channels = x.shape
    x = x if x.stride(1) == 1 else x.contiguous()
    y, after = torch.empty(tokens, channels, dtype=x.dtype, device=x.device), torch.empty_like(tail)
    conv_kernel[(triton.cdiv(channels, CHANNELS), triton.cdiv(tokens, TOKENS))](
        x, weight, tail.contiguous(), y, after, tokens, channels, x.stride(0),
        W=weight.shape[1], TOKENS=TOKENS, CHANNELS=CHANNELS, num_warps=4,
    )  # fmt: skip
    return y, after
