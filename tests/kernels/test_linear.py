"""A matrix times tokens, one or many."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import backend
from kernels.linear import EVEN, MANY, Weight, can_multiply_stored, linear
from kernels.quant import Grid
from model.quantize import quantize


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


@pytest.mark.parametrize("outer", [EVEN * 9 - 3, EVEN * 9])
@pytest.mark.parametrize("tokens", [MANY - 1, MANY, 3 * MANY + 5])
def test_of_many_tokens_it_is_the_product_for_any_number_of_rows(tokens: int, outer: int) -> None:
    experts, x = torch.randn(2, outer, 36), torch.randn(36, 2 * tokens).t()[::2]  # x lies apart in memory
    wide = x.double() @ experts[1].double().t()
    torch.testing.assert_close(linear(x, experts[1]), wide.float(), rtol=1e-5, atol=1e-5)
    assert torch.equal(linear(x, experts, expert=1), linear(x, experts[1]))


def test_rows_that_lie_apart_in_memory() -> None:
    x, weight = torch.randn(1, 40)[:, ::2], torch.randn(20, 7).t()
    torch.testing.assert_close(linear(x, weight), x @ weight.t())


def kept(*pieces: tuple[int, Grid] | torch.Tensor, experts: int | None = None) -> Weight:
    """A matrix put together from grids and plain rows, which knows its grids."""
    values = torch.cat([piece if isinstance(piece, torch.Tensor) else piece[1].values() for piece in pieces])
    weight = Weight(values if experts is None else values.unflatten(0, (experts, -1)), requires_grad=False)
    for piece in pieces:
        if not isinstance(piece, torch.Tensor):
            weight.keep(*piece)
    return weight


def grid(rows: int, columns: int, bits: int, group: int) -> Grid:
    """A random matrix on a grid."""
    return quantize(torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows)) * 0.1, bits, group)


@pytest.mark.parametrize(("bits", "group", "there"), [(4, 32, False), (4, 64, True), (4, 128, False), (8, 64, True)])
def test_a_matrix_on_a_grid_of_the_kernels_form_is_also_there_as_stored(bits: int, group: int, there: bool) -> None:
    weight = kept((0, grid(48, 256, bits, group)))
    x = torch.randn(1, 256).bfloat16()
    assert torch.equal(linear(x, weight), x @ weight.t())
    assert (weight.stored is not None) == there == weight.is_stored


def test_matrices_are_kept_as_stored_for_numbers_that_the_kernels_take(monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes = (torch.bfloat16, torch.float32, torch.float64)
    assert [can_multiply_stored(dtype) for dtype in dtypes] == [True, True, False]
    monkeypatch.setattr(backend, "has_numba", lambda: False)
    assert not can_multiply_stored(torch.float32)


def test_matrices_that_lie_below_each_other_are_one() -> None:
    weight = kept((0, grid(23, 64, 4, 64)), (23, grid(40, 64, 4, 64)))
    assert weight.stored is not None
    assert weight.stored.scale.shape == (63, 1)


@pytest.mark.parametrize("after", [torch.randn(9, 64).bfloat16(), (32, grid(9, 64, 8, 64)), (32, grid(9, 64, 4, 32))])
def test_rows_that_are_not_stored_as_the_first_ones_are_not_among_them(after: tuple[int, Grid] | torch.Tensor) -> None:
    weight = kept((0, grid(32, 64, 4, 64)), after)
    assert weight.stored is not None
    assert len(weight.stored.scale) == 32


def test_a_matrix_whose_first_rows_are_not_on_a_grid_is_not_kept() -> None:
    assert kept(torch.randn(8, 64).bfloat16(), (8, grid(32, 64, 4, 64))).stored is None
    assert kept(torch.randn(8, 64).bfloat16()).stored is None


def test_each_expert_has_its_own_matrix() -> None:
    weight = kept(*[(16 * n, grid(16, 64, 4, 64)) for n in range(3)], experts=3)
    x = torch.randn(1, 64).bfloat16()
    for expert in range(3):
        assert torch.equal(linear(x, weight, expert), x @ weight[expert].t())
    assert weight.stored is not None
    assert weight.stored.q.shape == (3, 16, 32)


def test_experts_are_kept_all_or_none() -> None:
    assert kept((0, grid(16, 64, 4, 64)), torch.randn(16, 64).bfloat16(), experts=2).stored is None


@pytest.mark.parametrize(("tokens", "dtype"), [(2, torch.float64), (0, torch.float32)])
def test_float64_and_no_tokens_at_all_do_without_triton(
    tokens: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    x, weight = torch.randn(tokens, 40, dtype=dtype), torch.randn(7, 40, dtype=dtype)
    assert torch.equal(linear(x, weight), x @ weight.t())
