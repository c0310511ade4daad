"""The feed-forward half of a layer for one token on a processor, against the reference."""

import numpy as np
import pytest
import torch

from kernels import moe, norm
from kernels.linear_numba import Stored, stored
from kernels.moe_numba import DenseWeights, MoEWeights, dense_layer, layer, route
from model.quantize import quantize

HIDDEN, INNER, SHARED, EXPERTS = 128, 64, 192, 6
EPS = np.float32(1e-5)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def on_grid(*shape: int, seed: int) -> tuple[Stored, torch.Tensor]:
    """Matrices as they are stored, and what they stand for."""
    *stack, rows, columns = shape
    grids = [quantize(random(rows, columns, seed=seed + n) * 0.2, 4, 64) for n in range(*stack or (1,))]
    values = torch.stack([grid.values(torch.float32) for grid in grids])
    return stored(grids, stack), values if stack else values[0]


@pytest.mark.parametrize("top_k", [1, 3, 6])
@pytest.mark.parametrize("renormalize", [True, False])
def test_the_choice_is_the_references(top_k: int, renormalize: bool) -> None:
    x, router, bias = random(HIDDEN), random(EXPERTS, HIDDEN, seed=1), random(EXPERTS, seed=2)
    weights, chosen = route(x.numpy(), router.numpy(), bias.numpy(), top_k, renormalize, 2.5)
    expected, experts = moe.route(x[None], router, bias, top_k, renormalize, 2.5)
    found = dict(zip(chosen.tolist(), weights.tolist(), strict=True))
    assert found == pytest.approx(dict(zip(experts[0].tolist(), expected[0].tolist(), strict=True)), rel=1e-5)


def test_a_layer_is_the_references_and_adds_to_what_is_there() -> None:
    x, before = random(HIDDEN), 1 + random(HIDDEN, seed=1) / 4
    router, bias = random(EXPERTS, HIDDEN, seed=2), random(EXPERTS, seed=3)
    (gate_up, wide_gate_up), (down, wide_down) = (
        on_grid(EXPERTS, 2 * INNER, HIDDEN, seed=10), on_grid(EXPERTS, HIDDEN, INNER, seed=30))
    (shared_up, wide_shared_up), (shared_down, wide_shared_down) = (
        on_grid(2 * SHARED, HIDDEN, seed=50), on_grid(HIDDEN, SHARED, seed=60))
    found = x.numpy().copy()
    own = (before.numpy(), router.numpy(), bias.numpy())
    layer(found, MoEWeights(*own, gate_up, down, shared_up, shared_down, 3, True, 2.5, EPS))
    token = norm.rms_norm(x[None], before, 1e-5)
    weights, chosen = moe.route(token, router, bias, 3, True, 2.5)
    expected = x + moe.mixture(token, weights, chosen, wide_gate_up, wide_down, (wide_shared_up, wide_shared_down))[0]
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-3, atol=1e-3)


def test_a_dense_layer_is_the_references() -> None:
    x, before = random(HIDDEN), 1 + random(HIDDEN, seed=1) / 4
    (gate_up, wide_gate_up), (down, wide_down) = on_grid(2 * SHARED, HIDDEN, seed=5), on_grid(HIDDEN, SHARED, seed=6)
    found = x.numpy().copy()
    dense_layer(found, DenseWeights(before.numpy(), gate_up, down, EPS))
    expected = x + moe.swiglu(norm.rms_norm(x[None], before, 1e-5), wide_gate_up, wide_down)[0]
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-3, atol=1e-3)
