"""KDA: the recurrence is the paper's formula, and the chunked form is the recurrence, for gates of any size."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kernels import kda

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def log_decay(kind: str, shape: tuple[int, int, int], random: torch.Generator) -> Tensor:
    """Gates [T, H, K] of a kind."""
    noise = torch.randn(shape, generator=random)
    coin = torch.rand(shape, generator=random)
    if kind == "none":
        return torch.zeros(shape)
    if kind == "real":  # exp(a_log) up to the 201 of the real checkpoint
        a_log = torch.linspace(-3, 201.0, shape[1]).clamp_min(0.05).log()
        return kda.gate(4 * noise, a_log, torch.zeros(shape[1:]))
    if kind == "huge":  # a chunk spans 6e4
        return -1000 * (1 + coin)
    if kind == "huge and tiny":
        return torch.where(coin < 0.1, -3000 * torch.rand(shape, generator=random), -1e-3 * coin)
    if kind == "some huge channels":
        return torch.where(torch.arange(shape[2]) % 2 == 0, -2661.0, -1e-4) * coin
    raise ValueError(kind)


def draw(tokens: int, kind: str, seed: int, heads: int = 2, keys: int = 16, values: int = 12) -> Inputs:
    """Random (q, k, v, g, beta, state) as a KDA layer makes them."""
    random = torch.Generator().manual_seed(seed)
    q, k = (
        torch.nn.functional.normalize(torch.randn(tokens, heads, keys, generator=random), dim=-1) for _ in range(2)
    )
    v = torch.randn(tokens, heads, values, generator=random)
    beta = torch.sigmoid(2 * torch.randn(tokens, heads, generator=random))
    state = torch.randn(heads, keys, values, generator=random)
    return q * keys**-0.5, k, v, log_decay(kind, (tokens, heads, keys), random), beta, state


def exact(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """The recurrence in float64."""
    q, k, v, g, beta, state = inputs
    return kda.recurrent(q, k, v, g, beta, state.double())


def check(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], tolerance: float = 1e-5) -> None:
    """Outputs and state are finite and within `tolerance` of the largest number expected."""
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.isfinite(ours).all()
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


KINDS = ["none", "real", "huge", "huge and tiny", "some huge channels"]
LENGTHS = [1, 63, 64, 65, 300, 600]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", LENGTHS)
def test_chunked_is_the_float64_recurrence(tokens: int, kind: str) -> None:
    inputs = draw(tokens, kind, seed=tokens)
    assert inputs[3].max() <= 0
    check(kda.chunked(*inputs), exact(inputs))


@pytest.mark.parametrize("kind", ["real", "huge and tiny"])
def test_chunked_at_the_published_head_size(kind: str) -> None:
    inputs = draw(130, kind, seed=0, heads=2, keys=128, values=128)
    check(kda.chunked(*inputs), exact(inputs))


@given(tokens=st.integers(1, 200), kind=st.sampled_from(KINDS), seed=st.integers(0, 10_000), values=st.integers(1, 9))
def test_chunked_is_the_float64_recurrence_for_any_length(tokens: int, kind: str, seed: int, values: int) -> None:
    inputs = draw(tokens, kind, seed, keys=8, values=values)
    check(kda.chunked(*inputs), exact(inputs))


def test_repeated_keys_written_with_full_strength_stay_bounded() -> None:
    q, k, v, g, _, state = draw(200, "none", seed=1)
    inputs = (q, k[:1].expand_as(k).contiguous(), v, g, torch.ones(200, 2), state)
    check(kda.chunked(*inputs), exact(inputs))


@given(tokens=st.integers(2, 150), data=st.data(), kind=st.sampled_from(KINDS))
def test_reading_may_stop_anywhere(tokens: int, data: st.DataObject, kind: str) -> None:
    inputs = draw(tokens, kind, seed=tokens)
    q, k, v, g, beta, state = inputs
    cut = data.draw(st.integers(1, tokens - 1))
    first, state = kda.chunked(q[:cut], k[:cut], v[:cut], g[:cut], beta[:cut], state)
    second, state = kda.chunked(q[cut:], k[cut:], v[cut:], g[cut:], beta[cut:], state)
    check((torch.cat([first, second]), state), exact(inputs))


@pytest.mark.parametrize("form", [kda.recurrent, kda.chunked])
def test_the_given_state_is_not_changed(form: Callable[..., tuple[Tensor, Tensor]]) -> None:
    inputs = draw(70, "real", seed=2)
    before = [x.clone() for x in inputs]
    form(*inputs)
    assert all(torch.equal(x, y) for x, y in zip(inputs, before, strict=True))


def test_the_recurrence_is_the_papers_formula() -> None:
    q, k, v, g, beta, state = (x.double() for x in draw(40, "real", seed=3))
    outputs, last = kda.recurrent(q, k, v, g, beta, state)
    for h in range(state.shape[0]):
        s = state[h]
        for t in range(q.shape[0]):
            s = torch.diag(g[t, h].exp()) @ s
            s = s + beta[t, h] * torch.outer(k[t, h], v[t, h] - s.T @ k[t, h])
            torch.testing.assert_close(outputs[t, h], s.T @ q[t, h])
        torch.testing.assert_close(last[h], s)


@given(seed=st.integers(0, 1000), size=st.floats(0.1, 60))
def test_the_gate_is_an_unbounded_softplus(seed: int, size: float) -> None:
    random = torch.Generator().manual_seed(seed)
    raw, bias = (size * torch.randn(5, 3, 4, generator=random), torch.randn(3, 4, generator=random))
    a_log = torch.tensor([-2.0, 0.0, 5.3])
    found = kda.gate(raw.bfloat16(), a_log, bias)
    x = raw.bfloat16().double() + bias.double()
    expected = -a_log.double().exp()[:, None] * (x.clamp_min(0) + torch.log1p((-x.abs()).exp()))
    assert found.dtype == torch.float32
    assert (found <= 0).all()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
