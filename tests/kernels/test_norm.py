"""The norms, against their formulas in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kernels import norm


def draw(width: int, size: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random (x [3, 2, width] of a size, weight [width], gate like x)."""
    random = torch.Generator().manual_seed(seed)
    x = size * torch.randn(3, 2, width, generator=random)
    return x, torch.randn(width, generator=random), 3 * torch.randn(3, 2, width, generator=random)


def exact_rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMS norm in float64."""
    x = x.double()
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight.double()


SIZES = st.sampled_from([1e-6, 1e-3, 1.0, 1e3])


@given(width=st.integers(1, 40), size=SIZES, eps=st.sampled_from([1e-5, 1e-6]))
def test_rms_norm(width: int, size: float, eps: float) -> None:
    x, weight, _ = draw(width, size)
    torch.testing.assert_close(norm.rms_norm(x, weight, eps).double(), exact_rms(x, weight, eps), rtol=1e-5, atol=1e-7)


@given(width=st.integers(1, 40), size=SIZES)
def test_gated_rms_norm(width: int, size: float) -> None:
    x, weight, gate = draw(width, size)
    expected = exact_rms(x, weight, 1e-5) / (1 + torch.exp(-gate.double()))
    torch.testing.assert_close(norm.gated_rms_norm(x, gate, weight, 1e-5).double(), expected, rtol=1e-5, atol=1e-7)


@given(width=st.integers(1, 40), size=SIZES)
def test_l2_norm(width: int, size: float) -> None:
    x, _, _ = draw(width, size)
    expected = x.double() / (x.double().square().sum(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(norm.l2_norm(x).double(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_normed_in_float32(dtype: torch.dtype) -> None:
    x, weight, gate = (a.to(dtype) for a in draw(64, 200.0))  # squares overflow float16
    assert norm.l2_norm(x).dtype == torch.float32
    for found, expected in [
        (norm.rms_norm(x, weight, 1e-5), exact_rms(x, weight, 1e-5)),
        (norm.gated_rms_norm(x.float(), gate, weight, 1e-5), exact_rms(x, weight, 1e-5) * gate.double().sigmoid()),
    ]:
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=1e-3)


def test_zeros_stay_zeros() -> None:
    x = torch.zeros(2, 8)
    assert not norm.rms_norm(x, torch.ones(8), 1e-5).any()
    assert not norm.l2_norm(x).any()
