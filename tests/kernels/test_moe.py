"""Experts: routing against its definition token by token, and the grouped product against one token at a time."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kernels import moe, quant
from tests.kernels import experts


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(
    tokens=st.integers(1, 20), experts=st.integers(1, 12), data=st.data(),
    renormalize=st.booleans(), scaling=st.sampled_from([0.5, 1.0, 2.446]),
)  # fmt: skip
def test_route_is_its_definition(
    tokens: int, experts: int, data: st.DataObject, renormalize: bool, scaling: float
) -> None:
    top_k = data.draw(st.integers(1, experts))
    x, weight, bias = randn(tokens, 6), randn(experts, 6, seed=1), randn(experts, seed=2)
    weights, chosen = moe.route(x, weight, bias, top_k, renormalize, scaling)
    assert (weights.dtype, chosen.dtype) == (torch.float32, torch.int64)
    for t in range(tokens):
        scores = [1 / (1 + float(torch.exp(-(x[t].double() @ w.double())))) for w in weight]
        best = sorted(range(experts), key=lambda e: -(scores[e] + float(bias[e])))[:top_k]
        total = sum(scores[e] for e in best) if renormalize else 1
        found = dict(zip(chosen[t].tolist(), weights[t].tolist(), strict=True))
        assert found == pytest.approx({e: scores[e] / total * scaling for e in best}, rel=1e-4)


def test_the_bias_chooses_and_does_not_weigh() -> None:
    x, weight = randn(9, 6), randn(5, 6, seed=1)
    bias = torch.tensor([0.0, 0.0, 100.0, 0.0, 100.0])
    weights, chosen = moe.route(x, weight, bias, 2, False, 1.0)
    assert (chosen.sort(-1).values == torch.tensor([2, 4])).all()
    torch.testing.assert_close(weights, torch.sigmoid(x @ weight.t()).gather(1, chosen))


def test_scores_all_near_zero_still_renormalise_to_the_scaling() -> None:
    weights, _ = moe.route(torch.ones(1, 1), torch.full((4, 1), -30.0), torch.zeros(4), 2, True, 2.446)
    torch.testing.assert_close(weights.sum(), torch.tensor(2.446), rtol=1e-3, atol=0)


def draw_experts(tokens: int, experts: int, top_k: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Random (x, weights, chosen, gate_up, down); a token's experts differ."""
    chosen = torch.stack([torch.randperm(experts, generator=torch.Generator().manual_seed(seed + t))[:top_k]
                          for t in range(tokens)])  # fmt: skip
    gate_up, down = randn(experts, 10, 7, seed=1), randn(experts, 7, 5, seed=2)
    return randn(tokens, 7, seed=seed), randn(tokens, top_k, seed=3).abs(), chosen, gate_up, down


@given(tokens=st.integers(1, 40), experts=st.integers(1, 9), data=st.data())
def test_experts_is_the_sum_over_each_tokens_experts(tokens: int, experts: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, experts))
    x, weights, chosen, gate_up, down = draw_experts(tokens, experts, top_k)
    found = moe.experts(x, weights, chosen, gate_up, down)
    for t in range(tokens):
        total = torch.zeros(7).double()
        for weight, e in zip(weights[t], chosen[t].tolist(), strict=True):
            gate, up = gate_up[e, :5].double() @ x[t].double(), gate_up[e, 5:].double() @ x[t].double()
            total += weight.double() * (down[e].double() @ (F.silu(gate) * up))
        torch.testing.assert_close(found[t].double(), total, rtol=1e-4, atol=1e-4)


def test_two_runs_agree_to_the_bit() -> None:
    inputs = draw_experts(500, 8, 4)
    first = moe.experts(*inputs)
    assert all(torch.equal(moe.experts(*inputs), first) for _ in range(5))


@pytest.mark.parametrize("tokens", [2, 5, 44, 203])
def test_places_that_are_nobodys_change_nothing_in_bfloat16(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weights, chosen, *_ = draw_experts(tokens, 8, 4)
    x, gate_up, down = (part.bfloat16() for part in (randn(tokens, 576), randn(8, 256, 576), randn(8, 576, 128)))
    found = moe.experts(x, weights, chosen, gate_up, down)
    monkeypatch.setattr(moe, "EVEN", 1)
    expected = moe.experts(x, weights, chosen, gate_up, down)
    torch.testing.assert_close(found, expected, rtol=2**-8, atol=2**-8 * float(expected.abs().max()))  # some only round


def test_the_order_in_which_experts_were_chosen_only_rounds() -> None:
    x, weights, chosen, gate_up, down = draw_experts(50, 8, 4)
    flipped = moe.experts(x, weights.flip(1), chosen.flip(1), gate_up, down)
    torch.testing.assert_close(flipped, moe.experts(x, weights, chosen, gate_up, down), rtol=1e-4, atol=1e-4)


def test_dtype_is_kept_and_sums_are_float32() -> None:
    inputs = draw_experts(30, 6, 3)
    half = moe.experts(*(x if x.dtype == torch.int64 else x.bfloat16() for x in inputs))
    assert half.dtype == torch.bfloat16
    full = moe.experts(*inputs)
    assert (half.float() - full).norm() < 0.02 * full.norm()


def test_swiglu_takes_the_gate_from_the_first_half() -> None:
    x, gate_up, down = randn(3, 4), randn(6, 4, seed=1), randn(4, 3, seed=2)
    gate, up = x @ gate_up[:3].t(), x @ gate_up[3:].t()
    torch.testing.assert_close(moe.swiglu(x, gate_up, down), (gate * torch.sigmoid(gate) * up) @ down.t())


@pytest.mark.parametrize("form", ["fp8", "int4"])
@pytest.mark.parametrize("tokens", [1, 7])
def test_quantised_experts_are_what_they_stand_for(form: str, tokens: int) -> None:
    mix = experts.draw(tokens, experts=6, top_k=2, width=128, inner=128, pieces=1, form=form, dtype=torch.float32)
    plain = [quant.dequantize(weight, torch.float32) for weight in (mix.gate_up, mix.down, *mix.shared)]
    expected = moe.mixture(mix.x, mix.weights, mix.chosen, plain[0], plain[1], (plain[2], plain[3]))
    torch.testing.assert_close(moe.mixture(*mix.arguments()), expected, rtol=1e-5, atol=1e-5)
