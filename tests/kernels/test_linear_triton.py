"""A matrix times a few tokens in Triton, from whole and quantised weights, against float64."""

import pytest
import torch

from kernels import linear_triton, quant
from kernels.quant import Weights
from tests.kernels.device import DEVICE, ON_GPU

SHAPES = [(12_576, 2304), (2304, 4096), (163_840, 2304), (2304, 9216)] if ON_GPU else [(9, 128), (130, 384), (6, 4352)]


def quantised(form: str, weight: torch.Tensor) -> Weights:
    """The matrix in one of its forms."""
    return {"fp8": quant.to_fp8, "int4": quant.to_int4}.get(form, torch.Tensor.clone)(weight)


@pytest.mark.parametrize("form", ["whole", "fp8", "int4"])
@pytest.mark.parametrize("tokens", [1, 3, 8] if not ON_GPU else range(1, 9))
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_it_is_the_matrix_product(rows: int, width: int, tokens: int, form: str) -> None:
    random = torch.Generator(DEVICE).manual_seed(tokens)
    wide = torch.randn(tokens, width + 8, generator=random, device=DEVICE).bfloat16()
    x = wide[:, 8:]  # a view, as the layers make them
    weight = quantised(form, torch.randn(rows, width, generator=random, device=DEVICE).bfloat16())
    exact = x.double() @ quant.dequantize(weight, torch.float32).double().t()
    found = linear_triton.linear(x, weight)
    assert found.dtype == torch.bfloat16
    assert found.shape == (tokens, rows)
    assert float((found.double() - exact).norm() / exact.norm()) < 5e-3
    alone = linear_triton.linear(x[-1:], weight)
    assert float((alone.double() - exact[-1:]).norm() / exact[-1:].norm()) < 5e-3
