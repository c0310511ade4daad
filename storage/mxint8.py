"""Numbers in 8 bits: whole ones from -127 to 127, with one power of two for every 16 neighbours.

The idea of MXINT8 (OCP Microscaling Formats 1.0, section 5.3.4) with blocks of 16 instead of 32, since the two parts of
a latent, which differ in size, are multiples of 16 long. Scales are powers of two, so what was rounded once is exact in
bfloat16, float16 and float32, and rounding it again changes nothing: a rounded tensor can be held in 8.5 bits a number
and comes back to the bit.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 16
TOP = 6
"""The largest number of a block lies between 2**TOP and 2**(TOP + 1)."""
LEAST = -100
"""The exponent of a block is at least this, which every format reaches with room for the 6 bits below."""


def rounded(x: Tensor) -> Tensor:
    """x [..., W] as 8 bits hold it, same shape, dtype and device. Blocks with infinities or NaN stay as they are."""
    numbers, exponents = _encode(x)
    finite = _blocks(x).abs().amax(-1, keepdim=True).isfinite()
    return torch.where(finite, _decode(numbers, exponents), _blocks(x)).flatten(-2)[..., : x.shape[-1]].to(x.dtype)


def pack(x: Tensor) -> Tensor | None:
    """x [..., W] in 8.5 bits a number, uint8 [bytes]: the blocks' exponents, then the numbers. None unless it is
    rounded already, and would come back to the bit."""
    if not x.is_floating_point() or x.dim() == 0 or x.numel() == 0:
        return None
    x = x.detach().cpu().contiguous()
    numbers, exponents = _encode(x)
    back = _decode(numbers, exponents).flatten(-2)[..., : x.shape[-1]].to(x.dtype).contiguous()
    if not torch.equal(back.view(torch.uint8), x.view(torch.uint8)):
        return None
    kept = numbers.flatten(-2)[..., : x.shape[-1]].contiguous()
    return torch.cat([(exponents - LEAST).to(torch.uint8).flatten(), kept.view(torch.uint8).flatten()])


def unpack(data: Tensor, dtype: torch.dtype, shape: list[int]) -> Tensor | None:
    """The bytes of the tensor, uint8; None if `data` has another length than such a tensor packs to."""
    width = shape[-1] if shape else 0
    if width < 1 or min(shape) < 1:
        return None
    rows, blocks = torch.Size(shape[:-1]).numel(), -(-width // BLOCK)
    if len(data) != rows * (blocks + width):
        return None
    exponents = data[: rows * blocks].to(torch.int32).view(rows, blocks, 1) + LEAST
    numbers = F.pad(data[rows * blocks :].view(torch.int8).view(rows, width), (0, blocks * BLOCK - width))
    values = _decode(numbers.view(rows, blocks, BLOCK), exponents).flatten(-2)[:, :width]
    return values.to(dtype).contiguous().view(torch.uint8).flatten()


def packed_bytes(width: int) -> int:
    """Bytes that a row of so many numbers packs to."""
    return width + -(-width // BLOCK)


def _blocks(x: Tensor) -> Tensor:
    """x [..., W] in float32, [..., blocks, BLOCK], zeros behind the end."""
    short = -x.shape[-1] % BLOCK
    return (F.pad(x, (0, short)) if short else x).float().unflatten(-1, (-1, BLOCK))


def _encode(x: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers int8 [..., blocks, BLOCK] and exponents int32 [..., blocks, 1]."""
    blocks = _blocks(x)
    top = blocks.abs().amax(-1, keepdim=True)
    exponents = ((top.view(torch.int32) >> 23) - 127).clamp_(LEAST, 127)  # of float32: 8 bits above 23
    return (blocks * _power(TOP - exponents)).round_().clamp_(-127, 127).to(torch.int8), exponents


def _decode(numbers: Tensor, exponents: Tensor) -> Tensor:
    return numbers.float() * _power(exponents - TOP)


def _power(exponents: Tensor) -> Tensor:
    """2 to these powers, each within float32's normal range, float32."""
    return ((exponents + 127) << 23).view(torch.float32)
