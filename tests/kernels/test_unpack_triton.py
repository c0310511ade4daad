"""Every byte of a quantised weight becomes the number that it stands for. Instructions by name need a GPU."""

import torch
import triton
import triton.language as tl

from kernels import unpack_triton as unpack
from tests.kernels.device import DEVICE, ON_GPU


@triton.jit
def each(from_ptr, low_ptr, high_ptr, FP8: tl.constexpr):
    """The numbers of 256 bytes."""
    n = tl.arange(0, 256)
    values = tl.load(from_ptr + n)
    if FP8:
        tl.store(low_ptr + n, unpack.fp8(values) * unpack.LIFTED)
    else:
        low, high = unpack.nibbles(values)
        tl.store(low_ptr + n, low)
        tl.store(high_ptr + n, high)


def test_what_the_bits_lack_is_made_up_for() -> None:
    e4m3, bfloat16 = 7, 127  # what exponents are counted from
    assert unpack.LIFTED.value**2 == 2.0 ** (bfloat16 - e4m3)


if ON_GPU:

    def test_all_fp8_numbers() -> None:
        numbers = torch.arange(256, dtype=torch.uint8, device=DEVICE).view(torch.float8_e4m3fn)
        found = torch.empty(256, dtype=torch.bfloat16, device=DEVICE)
        each[(1,)](numbers, found, found, FP8=True)
        real = ~numbers.float().isnan()
        assert torch.equal((found.double() * unpack.LIFTED.value)[real], numbers.double()[real])

    def test_all_halves_of_bytes() -> None:
        numbers = torch.arange(256, dtype=torch.uint8, device=DEVICE)
        low, high = (torch.empty(256, dtype=torch.bfloat16, device=DEVICE) for _ in range(2))
        each[(1,)](numbers, low, high, FP8=False)
        assert torch.equal(low.int(), numbers.int() & 15)
        assert torch.equal(high.int(), numbers.int() >> 4)
