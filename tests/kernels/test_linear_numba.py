"""A stored matrix times one token, against the matrix that it stands for."""

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st

from kernels import norm
from kernels.linear_numba import Stored, dense, given, rms_norm, stored, times
from model.quantize import quantize


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [4, 8])
@drawn(rows=st.integers(1, 70), groups=st.integers(1, 9))
def test_it_is_the_product(bits: int, rows: int, groups: int) -> None:
    grids = [quantize(random(rows, 64 * groups, seed=n), bits, 64) for n in range(2)]
    x, out = random(64 * groups, seed=3), np.empty(2 * rows, np.float32)
    times(stored(grids), given(x.numpy()), out)
    expected = torch.cat([grid.values(torch.float32) for grid in grids]).double() @ x.double()
    torch.testing.assert_close(torch.from_numpy(out).double(), expected, rtol=1e-4, atol=1e-4)


def test_a_token_is_laid_apart_and_summed_by_groups() -> None:
    x = random(192).numpy()
    token = given(x)
    assert (token.even == x[::2]).all()
    assert (token.odd == x[1::2]).all()
    np.testing.assert_allclose(token.sums, x.reshape(3, 64).sum(1), rtol=1e-5, atol=1e-5)


def test_every_expert_by_itself() -> None:
    grids = [quantize(random(16, 64, seed=n), 4, 64) for n in range(3)]
    x, out, stack = random(64, seed=9), np.empty(16, np.float32), stored(grids, [3])
    for expert, grid in enumerate(grids):
        times(Stored(*(part[expert] for part in stack)), given(x.numpy()), out)
        torch.testing.assert_close(torch.from_numpy(out), grid.values(torch.float32) @ x, rtol=1e-4, atol=1e-4)


def test_a_matrix_of_floats() -> None:
    weight, x, out = random(7, 33), random(33, seed=1), np.empty(7, np.float32)
    dense(weight.numpy(), x.numpy(), out)
    torch.testing.assert_close(torch.from_numpy(out), weight @ x, rtol=1e-5, atol=1e-5)


def test_the_norm_is_its_reference() -> None:
    x, weight = random(576), random(576, seed=1)
    found = torch.from_numpy(rms_norm(x.numpy(), weight.numpy(), np.float32(1e-5)))
    torch.testing.assert_close(found, norm.rms_norm(x, weight, 1e-5))
