"""A matrix times tokens, one or many."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels.linear import linear


@given(tokens=st.integers(1, 5), inner=st.integers(1, 70), outer=st.integers(1, 70))
def test_it_is_the_product(tokens: int, inner: int, outer: int) -> None:
    random = torch.Generator().manual_seed(inner)
    x, weight = torch.randn(tokens, inner, generator=random), torch.randn(outer, inner, generator=random)
    found = linear(x, weight)
    torch.testing.assert_close(found.double(), x.double() @ weight.double().t(), rtol=1e-5, atol=1e-5)
    assert found.shape == (tokens, outer)


@pytest.mark.parametrize("tokens", [1, 2])
def test_half_precision_is_kept_and_near(tokens: int) -> None:
    random = torch.Generator().manual_seed(tokens)
    x, weight = (torch.randn(n, 576, generator=random).bfloat16() for n in (tokens, 65))
    found = linear(x, weight)
    assert found.dtype == torch.bfloat16
    expected = x.double() @ weight.double().t()
    assert (found.double() - expected).norm() < 5e-3 * expected.norm()


def test_rows_that_lie_apart_in_memory() -> None:
    x, weight = torch.randn(1, 40)[:, ::2], torch.randn(20, 7).t()
    torch.testing.assert_close(linear(x, weight), x @ weight.t())
