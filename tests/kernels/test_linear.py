"""A matrix times tokens, one or many."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels.linear import EVEN, FEW, MANY, Weight, can_pack, linear
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


def kept(
    *pieces: tuple[int, Grid] | torch.Tensor, experts: int | None = None, dtype: torch.dtype = torch.bfloat16
) -> Weight:
    """A matrix put together from grids and plain rows, which knows its grids."""
    values = torch.cat([piece if isinstance(piece, torch.Tensor) else piece[1].values(dtype) for piece in pieces])
    weight = Weight(values if experts is None else values.unflatten(0, (experts, -1)), requires_grad=False)
    for piece in pieces:
        if not isinstance(piece, torch.Tensor):
            weight.keep(*piece)
    return weight


def grid(rows: int, columns: int, bits: int, group: int) -> Grid:
    """A random matrix on a grid."""
    return quantize(torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows)) * 0.1, bits, group)


def off_by(found: torch.Tensor, x: torch.Tensor, weight: torch.Tensor) -> float:
    """The error of a product, in parts of it."""
    expected = x.double() @ weight.double().t()
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize(("dtype", "tokens"), [(dtype, n) for dtype, few in FEW.items() for n in (1, few, few + 1)])
@pytest.mark.parametrize(("bits", "group"), [(4, 32), (4, 64), (4, 128), (8, 64)])
def test_a_packed_matrix_multiplies_as_before(tokens: int, dtype: torch.dtype, bits: int, group: int) -> None:
    weight = kept((0, grid(48, 256, bits, group)), dtype=dtype)
    x = torch.randn(tokens, 256).to(dtype)
    plain, found = x @ weight.t(), linear(x, weight)
    assert found.dtype == dtype
    assert off_by(found, x, weight) < 5e-3
    assert torch.equal(found, plain) == (tokens > FEW[dtype])
    assert [packed.rows for packed in weight.packed] == [48]


def test_nothing_is_packed_in_float64_or_where_the_kernel_is_plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert [can_pack(dtype) for dtype in (torch.bfloat16, torch.float32, torch.float64)] == [True, True, False]
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert not can_pack(torch.float32)


def test_matrices_that_lie_below_each_other_are_packed_as_one() -> None:
    weight = kept((0, grid(24, 64, 4, 64)), (24, grid(40, 64, 4, 64)))
    x = torch.randn(1, 64).bfloat16()
    assert weight.packed[0].rows == 64
    assert off_by(linear(x, weight), x, weight) < 5e-3


@pytest.mark.parametrize("after", [torch.randn(9, 64).bfloat16(), (32, grid(9, 64, 8, 64)), (32, grid(9, 64, 4, 32))])
def test_rows_that_are_not_stored_as_the_first_ones_stay_as_they_are(after: tuple[int, Grid] | torch.Tensor) -> None:
    weight = kept((0, grid(32, 64, 4, 64)), after)
    x = torch.randn(1, 64).bfloat16()
    assert weight.packed[0].rows == 32
    assert torch.equal(linear(x, weight)[:, 32:], x @ weight[32:].t())


def test_a_matrix_whose_first_rows_are_not_on_a_grid_is_not_packed() -> None:
    weight = kept(torch.randn(8, 64).bfloat16(), (8, grid(32, 64, 4, 64)))
    assert weight.packed == ()
    assert kept(torch.randn(8, 64).bfloat16()).packed == ()


def test_each_expert_has_its_own_packed_matrix() -> None:
    pieces = [(16 * n, grid(16 + n, 64, 4, 64)) for n in range(1)] + [(16 * n, grid(16, 64, 4, 64)) for n in (1, 2)]
    weight = kept(*pieces, experts=3)
    x = torch.randn(1, 64).bfloat16()
    for expert in range(3):
        assert off_by(linear(x, weight, expert), x, weight[expert]) < 5e-3
    assert len(weight.packed) == 3


def test_experts_are_packed_all_or_none() -> None:
    assert kept((0, grid(16, 64, 4, 64)), torch.randn(16, 64).bfloat16(), experts=2).packed == ()


@pytest.mark.parametrize(("tokens", "dtype"), [(2, torch.float64), (0, torch.float32)])
def test_float64_and_no_tokens_at_all_do_without_triton(
    tokens: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    x, weight = torch.randn(tokens, 40, dtype=dtype), torch.randn(7, 40, dtype=dtype)
    assert torch.equal(linear(x, weight), x @ weight.t())
