"""Matrices of three values: each row has a scale, and its numbers are that, its negative, or nothing.

Ternary weight networks (Li and Liu, 2016, arXiv 1605.04711): what is small in a row becomes 0, of the rest the sign
stays, and their mean size is the scale. Five such numbers fit in a byte (3^5 = 243), so a matrix has 1.6 bits for each.
An encoder that learns with such matrices and 8-bit activations loses little (TernaryBERT: Zhang et al., 2020,
arXiv 2009.12812); products are of whole numbers then, which processors do fastest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL = 0.7
"""Of a row's mean size: what is less becomes 0 (Li and Liu, equation 5)."""
DIGITS = 5
"""Numbers in a byte, the first counting least."""
_SIGNS = torch.stack([torch.arange(256) // 3**n % 3 - 1 for n in range(DIGITS)], 1).to(torch.int8)
"""The signs [256, 5] in each byte."""
INT8_MAX = 127
BITS = 2
"""What is said of a matrix that has three values where of others their bits are."""
IN_BYTES = torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability().startswith("AVX")
"""Whether PyTorch multiplies bytes fast on this processor: where oneDNN does not, it has a plain loop for them."""


@dataclass(frozen=True)
class Ternary:
    """A matrix [O, I] as it is stored: packed uint8 [O, ceil(I / 5)], each digit one more than the number's sign, what
    fills the last byte up 0; scale bfloat16 [O]."""

    packed: Tensor
    scale: Tensor

    def signs(self, columns: int) -> Tensor:
        """int8 [O, columns]. Raises ValueError where rows of so many numbers would be stored in other sizes."""
        if self.packed.shape != (*self.scale.shape, -(-columns // DIGITS)) or self.packed.dtype != torch.uint8:
            sizes = f"{list(self.packed.shape)} packed and {list(self.scale.shape)} scales"
            raise ValueError(f"{sizes} for {columns} columns")
        signs = _SIGNS.to(self.packed.device).index_select(0, self.packed.flatten().int())
        return signs.view(len(self.packed), -1)[:, :columns]


def split(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Signs, float32 [O, I], and scales, bfloat16 [O, 1], of a weight."""
    size = weight.float().abs()
    kept = size > SMALL * size.mean(1, keepdim=True)
    scale = (size * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp_min(1)
    return weight.float().sign() * kept, scale.bfloat16()


def pack(weight: Tensor) -> Ternary:
    """A matrix [O, I] as it is stored."""
    signs, scale = split(weight)
    digits = F.pad(signs + 1, (0, -signs.shape[1] % DIGITS)).unflatten(1, (-1, DIGITS)).to(torch.uint8)
    worth = torch.tensor([3**n for n in range(DIGITS)], dtype=torch.uint8, device=digits.device)
    return Ternary((digits * worth).sum(-1, dtype=torch.uint8), scale[:, 0])


def round_trip(weight: Tensor) -> Tensor:
    """What a matrix becomes once stored and read back, in its own dtype: for training against it."""
    signs, scale = split(weight)
    return (signs * scale.float()).to(weight.dtype)


def in_bytes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Activations [T, I] -> whole numbers, float32 [T, I], from -127 to 127, and each row's scale, float32 [T, 1]."""
    wide = x.float()
    scale = (wide.abs().amax(1, keepdim=True) / INT8_MAX).clamp_min(1e-12)
    return (wide / scale).round_(), scale


class TernaryLinear(nn.Module):
    """A linear layer of three values, whose input is rounded to 8 bits. On a processor it multiplies whole numbers."""

    signs: Tensor
    """int8 [O, I]."""
    scale: Tensor
    """float [O]: no less than bfloat16, in which it is stored."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("signs", torch.empty(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.empty(outputs, dtype=torch.float32))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """x [T, I] -> [T, O], in x's dtype."""
        whole, scale = in_bytes(x)
        if x.device.type == "cpu" and IN_BYTES:
            product = torch._int_mm(whole.to(torch.int8), self.signs.t()).float()
        else:
            product = F.linear(whole.to(x.dtype), self.signs.to(x.dtype)).float()
        # in place: a new tensor of this size costs more than what is computed in it
        return product.mul_(scale).mul_(self.scale).add_(self.bias).to(x.dtype)
