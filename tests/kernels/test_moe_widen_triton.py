"""int4 matrices turned into bfloat16 by the kernel, against `quant.dequantize`."""

import pytest
import torch

from kernels import quant
from kernels.moe_widen_triton import widen
from tests.kernels.device import DEVICE, ON_GPU

SHAPES = [(1, 128), (65, 256), (3, 70, 128), *([(16, 2048, 2304), (16, 2304, 1024)] if ON_GPU else [])]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_what_the_reference_makes_of_them(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    weight = quant.to_int4(torch.randn(shape, device=DEVICE))
    found, exact = widen(weight, dtype), quant.dequantize(weight, dtype)
    # Multiplied and added in one rounding on a GPU, in two by the reference: half a step of bfloat16 at most.
    torch.testing.assert_close(found, exact, rtol=0 if not ON_GPU else 8e-3, atol=0 if not ON_GPU else 1e-6)
