"""Grouped experts in Triton, bf16, fp8 and int4, against float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import quant
from kernels.moe_grouped_triton import combine, mixture
from tests.kernels.device import DEVICE, ON_GPU
from tests.kernels.experts import Mixture, draw, wide

DTYPE = torch.bfloat16 if ON_GPU else torch.float32
TOLERANCE = 1e-2 if ON_GPU else 1e-5
FULL = [(4097, 32, 8, 2304, 1024, 1)] if ON_GPU else []  # all 256 experts in float64 would fill the GPU
OWN_FP8 = 2e-2 if ON_GPU else 1e-5
"""A GPU adds fp8 products with about 14 bits; a sum that falls on the other side of the next rounding is a bit off."""

SHAPES = [(37, 6, 2, 128, 128, 2), (1, 4, 1, 128, 128, 1), (150, 3, 2, 256, 128, 1), *FULL]


def error(found: Tensor, exact: Tensor) -> float:
    """Relative error."""
    return ((found.double() - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("form", ["bf16", "int4"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_mixture_is_what_its_weights_stand_for(shape: tuple[int, int, int, int, int, int], form: str) -> None:
    inputs = draw(*shape, form, DTYPE)
    assert error(mixture(*inputs.arguments()), inputs.exact()) <= TOLERANCE


@pytest.mark.parametrize("shape", [(20, 5, 3, 40, 24, 1), (9, 8, 4, 96, 16, 4)], ids=str)
def test_widths_that_fill_no_tile(shape: tuple[int, int, int, int, int, int]) -> None:
    inputs = draw(*shape, "bf16", DTYPE)
    assert error(mixture(*inputs.arguments()), inputs.exact()) <= TOLERANCE


def rounded(x: Tensor) -> Tensor:
    """x through fp8 rows, float64."""
    values, scale = quant.rows_to_fp8(x.float())
    return (values.double().unflatten(1, (-1, 128)) * scale.double()[..., None]).flatten(1)


def fp8_exact(inputs: Mixture) -> Tensor:
    """The mixture with activations rounded to fp8 where the kernels round them, all else in float64."""
    x = rounded(inputs.x)

    def expert(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        gate, up = (x @ gate_up.t()).chunk(2, 1)
        return rounded(F.silu(gate) * up) @ down.t()

    out = expert(x, *(wide(weight) for weight in inputs.shared))
    gate_up, down = wide(inputs.gate_up), wide(inputs.down)
    for e in range(gate_up.shape[0]):
        token, k = (inputs.chosen == e).nonzero(as_tuple=True)
        out.index_add_(0, token, inputs.weights[token, k].double()[:, None] * expert(x[token], gate_up[e], down[e]))
    return out


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_fp8_is_its_own_arithmetic_and_near_the_weights(shape: tuple[int, int, int, int, int, int]) -> None:
    inputs = draw(*shape, "fp8", DTYPE)
    found = mixture(*inputs.arguments())
    assert error(found, fp8_exact(inputs)) <= OWN_FP8
    assert error(found, inputs.exact()) <= 0.06  # two roundings of activations to 3 bits


def test_fp8_experts_of_odd_width_are_named() -> None:
    inputs = draw(3, 2, 1, 128, 64, 1, "fp8", DTYPE)
    with pytest.raises(ValueError, match="multiples of 128"):
        mixture(*inputs.arguments())


def test_two_runs_agree_and_a_token_does_not_mind_its_neighbours() -> None:
    inputs = draw(60, 4, 2, 128, 128, 1, "bf16", DTYPE)
    first = mixture(*inputs.arguments())
    assert torch.equal(mixture(*inputs.arguments()), first)
    some = Mixture(inputs.x[:20], inputs.weights[:20], inputs.chosen[:20], *inputs.arguments()[3:])
    torch.testing.assert_close(mixture(*some.arguments()), first[:20], rtol=1e-2, atol=1e-5)


def test_pairs_are_added_up_in_float32_in_the_order_they_were_chosen() -> None:
    random = torch.Generator(DEVICE).manual_seed(0)
    shapes = [(21, 40), (7, 40), (7, 3)]
    routed, shared, weights = (torch.randn(shape, generator=random, device=DEVICE) for shape in shapes)
    place = torch.randperm(21, generator=random, device=DEVICE).int()
    exact = shared + (weights[..., None] * routed[place.long()].view(7, 3, 40)).sum(1)
    torch.testing.assert_close(combine(routed, place, weights, shared), exact, rtol=1e-5, atol=1e-5)
