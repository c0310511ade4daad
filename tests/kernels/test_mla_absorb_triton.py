"""Queries into latent space and values out of it in Triton, for one token a row, against PyTorch's."""

import pytest
import torch
from torch import Tensor

from kernels import mla
from kernels.mla_absorb_triton import absorb, unabsorb
from tests.kernels.device import DEVICE, ON_GPU

FULL = [(rows, 32, 128, 64, 128, 512) for rows in (1, 8, 33)] if ON_GPU else []
SHAPES = [(1, 2, 16, 8, 16, 64), (3, 3, 24, 4, 40, 72), (17, 2, 128, 64, 16, 96), *FULL]

Shape = tuple[int, int, int, int, int, int]


def draw(*shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator(DEVICE).manual_seed(len(shape)), device=DEVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "heads", "nope", "shared", "values", "rank"), SHAPES)
def test_one_token_a_row_goes_in_and_comes_out(
    rows: int, heads: int, nope: int, shared: int, values: int, rank: int, dtype: torch.dtype
) -> None:
    q, o = draw(rows, heads, nope + shared).to(dtype), draw(rows, heads, rank, 1)[..., 0]
    up = (draw(heads, nope + values, rank) * rank**-0.5).to(dtype)
    apart = 1e-5 if dtype == torch.float32 else 4e-3

    found = absorb(q, up, nope)
    expected = mla.absorb(q.double().transpose(0, 1), up.double(), nope).transpose(0, 1)
    assert (found.shape, found.dtype) == (expected.shape, dtype)
    assert (found - expected).norm() <= apart * expected.norm()
    assert torch.equal(found[..., rank:], q[..., nope:])

    found = unabsorb(o, up, nope)
    expected = mla.unabsorb(o.to(dtype).double().transpose(0, 1), up.double(), nope).transpose(0, 1).flatten(1)
    assert (found.shape, found.dtype) == (expected.shape, dtype)
    assert (found - expected).norm() <= apart * expected.norm()


def test_a_row_does_not_mind_its_neighbours() -> None:
    q, o, up = draw(20, 2, 24), draw(20, 2, 64, 1)[..., 0], draw(2, 32, 64)
    for many, one in ((absorb(q, up, 16), absorb(q[18:19], up, 16)), (unabsorb(o, up, 16), unabsorb(o[18:19], up, 16))):
        torch.testing.assert_close(many[18:19], one, rtol=1e-6, atol=1e-6)
