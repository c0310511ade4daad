"""Packed rows: several sequences in one row of T tokens, each blind to the others.

`Pack` says where sequences start. Attention and KDA take it, so one compiled shape serves every length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Pack:
    """Borders of the sequences in a packed row."""

    position: Tensor
    """[T] int64: index of each token in its own sequence."""
    borders: Tensor
    """[N+1] int64: cumulative lengths, from 0 to T."""
    borders_cpu: Tensor
    longest: int
    borders32: Tensor
    """The same borders as int32, as flash attention wants them."""


def make_pack(lengths: list[int], device: str | torch.device = "cpu") -> Pack:
    """The pack of sequences of these lengths (their sum is T)."""
    borders = torch.zeros(len(lengths) + 1, dtype=torch.int64)
    borders[1:] = torch.tensor(lengths).cumsum(0)
    position = torch.cat([torch.arange(n) for n in lengths])
    return Pack(send(position, device), send(borders, device), borders, max(lengths), send(borders.int(), device))


def send(tensor: Tensor, device: str | torch.device) -> Tensor:
    """A tensor of the processor's on a device, without waiting for what that has yet to do."""
    there = torch.device(device)
    return tensor.pin_memory().to(there, non_blocking=True) if there.type == "cuda" else tensor.to(there)


def attend(q: Tensor, k: Tensor, v: Tensor, pack: Pack, scale: float, causal: bool = True) -> Tensor:
    """Attention inside each sequence. q, k, v [T, H, D] (one size D) -> [T, H, D]."""
    if q.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        out: Any = varlen_attn(q, k, v, pack.borders32, pack.borders32, pack.longest, pack.longest,
                               scale=scale, **(_causal() if causal else {}))
        return cast(Tensor, out)
    parts = []
    for a, b in zip(pack.borders_cpu[:-1].tolist(), pack.borders_cpu[1:].tolist(), strict=True):
        one, two, three = (t[a:b].transpose(0, 1)[None] for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(one, two, three, is_causal=causal, scale=scale)
        parts.append(mixed[0].transpose(0, 1))
    return torch.cat(parts)


def _causal() -> dict[str, Any]:
    """varlen_attn's spelling of 'causal': a flag in torch 2.10, a window of (-1, 0) from 2.11 on."""
    import inspect

    from torch.nn.attention.varlen import varlen_attn

    windowed = "window_size" in inspect.signature(varlen_attn).parameters
    return {"window_size": (-1, 0)} if windowed else {"is_causal": True}
