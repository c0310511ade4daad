"""The norms in Triton are the references."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kernels import norm
from tests.kernels.device import DEVICE, ON_GPU

SHAPES = [(16_384, 2304), (16_384, 32, 128), (1, 2304)] if ON_GPU else [(5, 2304), (7, 3, 16), (1, 40)]


def gated(x: Tensor, other: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """The gated norm of float32, as KDA's outputs may be."""
    return (norm.gated_rms_norm(x, other, weight, 1e-5),)


def added(x: Tensor, other: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """The residual and its norm."""
    return norm.add_rms_norm(x, other, weight, 1e-5)


def plain(x: Tensor, _other: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """The norm of a view whose rows lie apart."""
    wide = torch.cat([x, x], -1)[..., : x.shape[-1]]
    return (norm.rms_norm(wide, weight, 1e-5),)


@pytest.mark.parametrize("form", [plain, added, gated])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_is_the_reference(
    form: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = torch.Generator(DEVICE).manual_seed(0)
    x, other = (torch.randn(shape, generator=random, device=DEVICE).to(dtype) for _ in range(2))
    weight = torch.randn(shape[-1], generator=random, device=DEVICE).to(dtype)
    before = x.clone(), other.clone()
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    found = form(x, other, weight)
    monkeypatch.setenv("ONCEREAD_KERNELS", "reference")
    expected = form(x, other, weight)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)
    assert torch.equal(x, before[0])
    assert torch.equal(other, before[1])
