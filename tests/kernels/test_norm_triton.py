"""The norms in Triton are the references."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kernels import moe_few_triton, norm, norm_triton
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


@pytest.mark.parametrize(("tokens", "top_k", "width"), [(1, 8, 2304), (5, 3, 48), (32, 2, 130)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_experts_are_added_up_in_the_norm_as_they_are_before_it(
    tokens: int, top_k: int, width: int, dtype: torch.dtype
) -> None:
    random = torch.Generator(DEVICE).manual_seed(tokens)
    x, weight = (torch.randn(n, width, generator=random, device=DEVICE).to(dtype) for n in (tokens, 1))
    results = torch.randn(tokens * (top_k + 1), width, generator=random, device=DEVICE)
    found = norm_triton.add_results_rms_norm(x, results, top_k, weight[0], 1e-5)
    delta = moe_few_triton.add_up(results, top_k, dtype)
    for ours, theirs in zip(found, norm_triton.add_rms_norm(x, delta, weight[0], 1e-5), strict=True):
        assert torch.equal(ours, theirs)
    exact = results[: tokens * top_k].double().view(tokens, top_k, width).sum(1) + results[tokens * top_k :]
    assert (delta - exact).norm() <= (4e-3 if dtype == torch.bfloat16 else 1e-6) * exact.norm()
