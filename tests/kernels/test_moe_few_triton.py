"""Experts for a handful of tokens in Triton, every format, against float64."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from kernels.moe_few_triton import COLUMNS, can_be_asked_for, mixture, most_slots
from kernels.quant import Fp8, Int4
from tests.kernels.device import DEVICE, ON_GPU
from tests.kernels.experts import Mixture, draw

DTYPE = torch.bfloat16 if ON_GPU else torch.float32
TOLERANCE = 1e-2 if ON_GPU else 1e-5
FULL = [(tokens, 32, 8, 2304, 1024, 1) for tokens in (1, 5, 16, 40, 64)] if ON_GPU else []
SHAPES = [(1, 6, 2, 128, 128, 1), (3, 4, 3, 256, 128, 2), (16, 3, 1, 128, 128, 1), (20, 3, 2, 128, 128, 1),
          (35, 2, 1, 128, 128, 2), *FULL]  # fmt: skip

Shape = tuple[int, int, int, int, int, int]


@pytest.mark.parametrize("form", ["bf16", "fp8", "int4"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_mixture_is_what_its_weights_stand_for(shape: Shape, form: str) -> None:
    inputs = draw(*shape, form, DTYPE)
    exact = inputs.exact()
    assert (mixture(*inputs.arguments()).double() - exact).norm() <= TOLERANCE * exact.norm()


def test_fp8_numbers_below_the_smallest_normal_one_count() -> None:
    inputs = draw(2, 3, 2, 128, 128, 1, "fp8", DTYPE)
    assert isinstance(inputs.gate_up, Fp8)
    tiny = torch.randint(-7, 8, inputs.gate_up.values.shape, device=DEVICE) * 2.0**-9
    gate_up = Fp8(tiny.to(torch.float8_e4m3fn), 8 * inputs.gate_up.scale / inputs.gate_up.scale.mean())
    below = replace(inputs, gate_up=gate_up)
    exact = below.exact()
    assert (mixture(*below.arguments()).double() - exact).norm() <= TOLERANCE * exact.norm()


@pytest.mark.parametrize("shape", [(7, 5, 3, 40, 24, 4), (2, 3, 2, 300, 100, 1)], ids=str)
def test_widths_that_fill_no_tile(shape: Shape) -> None:
    inputs = draw(*shape, "bf16", DTYPE)
    exact = inputs.exact()
    assert (mixture(*inputs.arguments()).double() - exact).norm() <= TOLERANCE * exact.norm()


def test_only_rows_at_multiples_of_16_bytes_are_asked_for_ahead() -> None:
    """A GPU that is asked for another row stops with "misaligned address"."""
    values = torch.zeros(8, 320, dtype=torch.bfloat16, device=DEVICE)
    assert can_be_asked_for(values)
    assert not can_be_asked_for(values.reshape(-1)[:2400].reshape(8, 300))
    assert not can_be_asked_for(values.reshape(-1)[4:324].reshape(1, 320))
    assert not can_be_asked_for(values[:, :160])
    scale = torch.ones(1, 5, device=DEVICE)
    assert can_be_asked_for(Fp8(values.view(torch.float8_e4m3fn), scale))
    assert not can_be_asked_for(Fp8(values.view(torch.float8_e4m3fn).reshape(-1)[:2400].reshape(8, 300), scale))
    assert can_be_asked_for(Int4(values.view(torch.uint8), scale, scale))
    assert not can_be_asked_for(Int4(values.view(torch.uint8).reshape(-1)[:800].reshape(8, 100), scale, scale))


def test_experts_nobody_chose_are_not_read() -> None:
    inputs = draw(2, 8, 2, 128, 128, 1, "bf16", DTYPE)
    assert isinstance(inputs.gate_up, torch.Tensor)
    idle = [e for e in range(8) if e not in inputs.chosen]
    inputs.gate_up[idle] = float("nan")
    assert mixture(*inputs.arguments()).isfinite().all()


def test_two_runs_agree_and_a_token_does_not_mind_its_neighbours() -> None:
    inputs = draw(5, 6, 2, 128, 128, 1, "bf16", DTYPE)
    first = mixture(*inputs.arguments())
    assert torch.equal(mixture(*inputs.arguments()), first)
    for row in range(5):
        part = slice(row, row + 1)
        alone = Mixture(inputs.x[part], inputs.weights[part], inputs.chosen[part], *inputs.arguments()[3:])
        torch.testing.assert_close(mixture(*alone.arguments()), first[part], rtol=1e-2 if ON_GPU else 1e-5, atol=1e-5)


@pytest.mark.parametrize(("tokens", "top_k"), [(1, 2), (8, 1), (9, 2), (17, 1), (20, 2)])
def test_there_are_slots_for_however_tokens_spread(tokens: int, top_k: int) -> None:
    spreads = [counts for counts in product(range(tokens + 1), repeat=3) if sum(counts) == tokens * top_k]
    most = max(sum(-(-count // COLUMNS) for count in counts) for counts in spreads)
    assert most <= most_slots(tokens, top_k, 3) <= most + 1
    assert [most_slots(tokens, 8, 256) for tokens in (1, 8, 32, 64)] == [8, 64, 256, 288]


@pytest.mark.parametrize("tokens", [COLUMNS, COLUMNS + 1, 3 * COLUMNS - 1])
def test_an_expert_that_everyone_chose_serves_everyone(tokens: int) -> None:
    inputs = draw(tokens, 4, 2, 128, 128, 1, "bf16", DTYPE)
    inputs.chosen[:, 0], inputs.chosen[:, 1] = 2, torch.arange(tokens, device=DEVICE) % 2 * 3
    exact = inputs.exact()
    found = mixture(*inputs.arguments()).double()
    assert ((found - exact).norm(dim=-1) <= 2 * TOLERANCE * exact.norm(dim=-1)).all()


def test_what_does_not_go_this_way_is_named() -> None:
    with pytest.raises(ValueError, match="65 tokens"):
        mixture(*draw(65, 2, 1, 64, 32, 1, "bf16", DTYPE).arguments())
    inputs = draw(1, 2, 1, 64, 32, 1, "bf16", DTYPE)
    wrong = (torch.ones(80, 64, dtype=DTYPE, device=DEVICE), torch.ones(64, 40, dtype=DTYPE, device=DEVICE))
    with pytest.raises(ValueError, match="shared expert"):
        mixture(*inputs.arguments()[:5], wrong)
