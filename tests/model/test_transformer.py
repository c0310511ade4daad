"""The whole model: what a token may see, and that a run is repeatable to the bit."""

from dataclasses import replace

import pytest
import torch

from kernels import moe
from model.engine import Engine
from model.state import ModelState
from model.transformer import Transformer
from tests import checkpoints
from tests.bench import synthetic


def ids(count: int) -> torch.Tensor:
    """Random tokens."""
    return torch.randint(4, 300, (count,), generator=torch.Generator().manual_seed(count))


def test_hidden_states_and_tokens_read(tiny_engine: Engine) -> None:
    state = tiny_engine.empty()
    hidden = tiny_engine.model(ids(70), state)
    assert hidden.shape == (70, tiny_engine.config.hidden)
    assert state.tokens == 70
    logits = tiny_engine.model.logits(hidden)
    assert (logits.shape, logits.dtype) == ((70, tiny_engine.config.vocab_size), torch.float32)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("change", [1, 63, 64, 99])
def test_no_token_sees_a_later_one_and_every_later_one_sees_it(tiny_engine: Engine, change: int) -> None:
    first, second = ids(100), ids(100)
    second[change] = 299 - second[change]
    a, b = (tiny_engine.model(x, tiny_engine.empty()) for x in (first, second))
    torch.testing.assert_close(a[:change], b[:change], rtol=1e-5, atol=1e-5)
    assert ((a[change:] - b[change:]).norm(dim=-1) > 1e-4).all()


def test_two_runs_agree_to_the_bit(tiny_engine: Engine) -> None:
    states = [tiny_engine.empty() for _ in range(2)]
    a, b = (tiny_engine.model(ids(200), state) for state in states)
    assert torch.equal(a, b)
    left, right = (state.to_tensors() for state in states)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_every_parameter_matters(tiny_engine: Engine) -> None:
    document = ids(80)
    before = tiny_engine.model.logits(tiny_engine.model(document, tiny_engine.empty()))
    for name, parameter in tiny_engine.model.named_parameters():
        kept = parameter.data.clone()
        parameter.data.copy_(kept.flip(0) * 1.5 + 0.1)
        after = tiny_engine.model.logits(tiny_engine.model(document, tiny_engine.empty()))
        parameter.data.copy_(kept)
        assert (after - before).norm() > 1e-3 * before.norm(), name


def test_on_meta_takes_no_memory(tiny_engine: Engine) -> None:
    model = Transformer.on_meta(tiny_engine.config)
    assert all(parameter.is_meta for parameter in model.parameters())
    shapes = {name: parameter.shape for name, parameter in tiny_engine.model.named_parameters()}
    assert {name: parameter.shape for name, parameter in model.named_parameters()} == shapes


@pytest.mark.parametrize("last", ["mla", "kda"])
@pytest.mark.parametrize("since", [0, 1, 60, 99, 100])
def test_the_last_layer_leaves_out_what_nobody_wants_and_its_state_is_the_same(last: str, since: int) -> None:
    attention = {"mla": {"kda_layers": [1, 2, 3], "full_attn_layers": [4]},
                 "kda": {"kda_layers": [1, 2, 4], "full_attn_layers": [3]}}[last]
    keys = checkpoints.CONFIG | {"num_hidden_layers": 4}
    keys["linear_attn_config"] = checkpoints.CONFIG["linear_attn_config"] | attention
    model = synthetic.model(keys, torch.float32)
    whole, some = (ModelState.empty(model.config, torch.float32, torch.device("cpu")) for _ in range(2))
    expected = model(ids(100), whole)[since:]
    found = model(ids(100), some, since)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    ours, theirs = some.to_tensors(), whole.to_tensors()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("tokens", [1, 3, 130])
def test_everything_stays_on_the_models_device(tiny_engine: Engine, tokens: int) -> None:
    """No GPU here: the meta device stands in for one, as anything left on the CPU meets it in an error."""
    config = replace(tiny_engine.config, dense_layers=tuple(range(tiny_engine.config.layers)))
    meta = torch.device("meta")
    model, state = Transformer.on_meta(config), ModelState.empty(config, torch.float32, meta)
    for count in (200, tokens):
        hidden = model(torch.zeros(count, dtype=torch.int64, device=meta), state)
        assert model.logits(hidden[-1:]).device == meta
    assert {tensor.device for tensor in state.fork().to_tensors().values()} == {meta}
    x, router = torch.empty(tokens, 32, device=meta), torch.empty(6, 32, device=meta)
    assert {part.device for part in moe.route(x, router, router[:, 0], 2, True, 1.0)} == {meta}
