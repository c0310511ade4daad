"""Sampling: greedy, top-p and seeds."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.sampling import Sampler, Sampling

SEEDS = st.integers(0, 2**32)


def draw(count: int, seed: int, size: float = 3.0) -> Tensor:
    """Random logits."""
    return size * torch.randn(count, generator=torch.Generator().manual_seed(seed))


def choices(logits: Tensor, count: int, **how: Any) -> list[int]:
    """Several tokens chosen from the same logits."""
    sampler = Sampler(Sampling(**how))
    return [sampler.choose(logits) for _ in range(count)]


@given(count=st.integers(1, 60), seed=SEEDS)
def test_temperature_zero_takes_the_likeliest(count: int, seed: int) -> None:
    logits = draw(count, seed)
    assert choices(logits, 3, seed=seed, top_p=0.5) == [int(logits.argmax())] * 3


@given(seed=SEEDS, temperature=st.floats(1e-320, 1e-4))
def test_a_temperature_near_zero_takes_the_likeliest_too(seed: int, temperature: float) -> None:
    logits = draw(20, seed)
    top, second = logits.topk(2).values
    logits[logits.argmax()] += max(0.0, 0.1 - float(top - second))
    assert choices(logits, 3, temperature=temperature) == [int(logits.argmax())] * 3


@given(count=st.integers(1, 40), seed=SEEDS, top_p=st.floats(1e-6, 1), temperature=st.floats(0.05, 5))
def test_top_p_stays_among_the_likeliest(count: int, seed: int, top_p: float, temperature: float) -> None:
    logits = draw(count, seed)
    weights = sorted(enumerate(torch.softmax(logits.double() / temperature, 0).tolist()), key=lambda pair: -pair[1])
    allowed, mass = set(), 0.0
    for token, weight in weights:
        if mass >= top_p + 1e-9:
            break
        allowed.add(token)
        mass += weight
    assert set(choices(logits, 20, temperature=temperature, top_p=top_p, seed=seed)) <= allowed


@given(seed=SEEDS)
def test_a_seed_repeats_its_choices_and_another_does_not(seed: int) -> None:
    logits = torch.zeros(1000)
    first = choices(logits, 20, temperature=1.0, seed=seed)
    assert first == choices(logits, 20, temperature=1.0, seed=seed)
    assert first != choices(logits, 20, temperature=1.0, seed=seed + 1)


def test_choosing_leaves_the_global_random_stream_alone() -> None:
    before = torch.random.get_rng_state()
    choices(torch.zeros(10), 5, temperature=1.0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_their_probability(temperature: float) -> None:
    logits, count = torch.tensor([0.0, 1.0, 2.0, -30.0]), 4000
    expected = torch.softmax(logits / temperature, 0)
    found = torch.bincount(torch.tensor(choices(logits, count, temperature=temperature)), minlength=4) / count
    assert (found - expected).abs().max() < 5 * (0.25 / count) ** 0.5


def test_logits_are_not_changed() -> None:
    logits = draw(30, 0)
    before = logits.clone()
    choices(logits, 2, temperature=0.7, top_p=0.5)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1}, {"temperature": float("nan")}, {"temperature": float("inf")},
        {"top_p": 0}, {"top_p": 1.1}, {"top_p": float("nan")}, {"max_tokens": 0},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="temperature must be"):
        Sampling(**wrong)  # type: ignore[arg-type]
