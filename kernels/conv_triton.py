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
    x_ptr, weight_ptr, tail_ptr, y_ptr, next_ptr, tokens,
    WIDTH: tl.constexpr, STRIDE: tl.constexpr, W: tl.constexpr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr,
):
    """y [T, WIDTH] and the next tail [W-1, WIDTH] of x [T, WIDTH] (rows STRIDE apart) behind tail [W-1, WIDTH].

    Widths are constants, so that rows lie at fixed distances; a tile with all of its tokens before it needs no masks.
    """
    first = tl.program_id(1) * TOKENS
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    t = tl.arange(0, TOKENS)[:, None]
    x_ptr += first.to(tl.int64) * STRIDE
    y_ptr += first.to(tl.int64) * WIDTH
    if first > 0 and first + TOKENS <= tokens and WIDTH % CHANNELS == 0:
        total = tl.zeros((TOKENS, CHANNELS), tl.float32)
        for tap in tl.static_range(W):
            x = tl.load(x_ptr + (t + (tap - (W - 1))) * STRIDE + c[None, :])
            total += x.to(tl.float32) * tl.load(weight_ptr + c * W + tap).to(tl.float32)[None, :]
        y = total * tl.sigmoid(total)
        tl.store(y_ptr + t * WIDTH + c[None, :], y.to(y_ptr.dtype.element_ty))
    else:
        inside = (c < WIDTH)[None, :] & (first + t < tokens)
        total = tl.zeros((TOKENS, CHANNELS), tl.float32)
        for tap in tl.static_range(W):
            source = t + (tap - (W - 1))  # a token before the first is a row of the tail
            x = tl.load(x_ptr + source * STRIDE + c[None, :], mask=inside & (first + source >= 0), other=0.0)
            if first == 0:
                row = tail_ptr + (source + (W - 1)) * WIDTH + c[None, :]
                x += tl.load(row, mask=inside & (source < 0), other=0.0)
            weight = tl.load(weight_ptr + c * W + tap, mask=c < WIDTH, other=0.0)
            total += x.to(tl.float32) * weight.to(tl.float32)[None, :]
        y = total * tl.sigmoid(total)
        tl.store(y_ptr + t * WIDTH + c[None, :], y.to(y_ptr.dtype.element_ty), mask=inside)
    if first + TOKENS >= tokens:
        # What the last token reads besides the oldest input is the next tail.
        for tap in tl.static_range(1, W):
            place = tokens - 1 - first + (tap - (W - 1))
            if first + place >= 0:
                last = tl.load(x_ptr + place.to(tl.int64) * STRIDE + c, mask=c < WIDTH, other=0.0)
            else:
                last = tl.load(tail_ptr + (place + (W - 1)) * WIDTH + c, mask=c < WIDTH, other=0.0)
            tl.store(next_ptr + (tap - 1) * WIDTH + c, last, mask=c < WIDTH)


def short_conv(x: Tensor, weight: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
    """`conv.short_conv`; x may be a view with rows apart."""
    tokens, channels = x.shape
    x = x if x.stride(1) == 1 else x.contiguous()
    y, after = torch.empty(tokens, channels, dtype=x.dtype, device=x.device), torch.empty_like(tail)
    conv_kernel[(triton.cdiv(channels, CHANNELS), triton.cdiv(tokens, TOKENS))](
        x, weight, tail.contiguous(), y, after, tokens,
        WIDTH=channels, STRIDE=x.stride(0), W=weight.shape[1], TOKENS=TOKENS, CHANNELS=CHANNELS, num_warps=4,
    )  # fmt: skip
    return y, after
