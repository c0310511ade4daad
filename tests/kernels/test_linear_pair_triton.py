"""Two narrow matrices, each times tokens of its own, in Triton and as two products."""

import pytest
import torch

from kernels import linear, linear_pair_triton
from tests.kernels.device import DEVICE, ON_GPU

SHAPES = [(4096, 128), (576, 64)] if ON_GPU else [(70, 128), (33, 40)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [1, 16, 33])
@pytest.mark.parametrize(("rows", "width"), SHAPES)
def test_each_matrix_meets_its_own_tokens(rows: int, width: int, tokens: int, dtype: torch.dtype) -> None:
    random = torch.Generator(DEVICE).manual_seed(tokens)
    wide = torch.randn(tokens, 2 * width + 8, generator=random, device=DEVICE).to(dtype)
    x, y = wide[:, 8 : 8 + width], wide[:, 8 + width :]  # views, as the layer makes them
    of_x, of_y = torch.randn(2, rows, width, generator=random, device=DEVICE).to(dtype)
    found = linear_pair_triton.pair(x, y, of_x, of_y)
    exact = torch.stack([x.double() @ of_x.double().t(), y.double() @ of_y.double().t()])
    assert (found.dtype, found.shape) == (dtype, exact.shape)
    assert (found.double() - exact).norm() <= (1e-5 if dtype == torch.float32 else 4e-3) * exact.norm()


@pytest.mark.parametrize(("tokens", "width", "goes"), [(1, 16, True), (64, 16, True), (65, 16, False), (1, 257, False)])
def test_a_few_tokens_of_narrow_matrices_go_this_way(
    tokens: int, width: int, goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    went: list[int] = []
    through = linear_pair_triton.pair
    monkeypatch.setattr(linear_pair_triton, "pair", lambda *given: went.append(1) or through(*given))
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    x, y = torch.randn(2, tokens, width, device=DEVICE)
    of_x, of_y = torch.randn(2, 5, width, device=DEVICE)
    for found, given, matrix in zip(linear.pair(x, y, of_x, of_y), (x, y), (of_x, of_y), strict=True):
        torch.testing.assert_close(found, given @ matrix.t(), rtol=1e-3, atol=1e-3)
    assert bool(went) == goes
