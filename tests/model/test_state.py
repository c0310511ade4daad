"""The state is a value: forks go their own ways, tensors carry it exactly, and what does not fit is named."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model import state
from model.config import KimiConfig
from model.engine import Engine
from model.errors import StateError
from model.state import KDAState, MLAState, ModelState
from tests import checkpoints

PAGE = 7


@pytest.fixture(autouse=True, scope="module")
def _small_pages() -> Iterator[None]:
    """Many pages with few tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "PAGE", PAGE)
        yield


def ids(count: int, seed: int = 0) -> list[int]:
    """Random tokens."""
    return torch.randint(4, 300, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def kept(value: ModelState) -> dict[str, Tensor]:
    """A copy of all that a state holds now."""
    return {name: tensor.clone() for name, tensor in value.to_tensors().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Equal names, and equal tensors to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@given(st.data())
def test_a_fork_never_changes_its_parent_nor_the_parent_its_fork(tiny_engine: Engine, data: st.DataObject) -> None:
    states = [tiny_engine.empty()]
    expected = [kept(states[0])]
    for step in range(data.draw(st.integers(2, 12))):
        n = data.draw(st.integers(0, len(states) - 1))
        if data.draw(st.booleans()):
            states.append(states[n].fork())
            expected.append(kept(states[n]))
        else:  # in place, as the model moves a state on
            tokens = torch.tensor(ids(data.draw(st.integers(1, 2 * PAGE + 1)), seed=step))
            tiny_engine.model(tokens, states[n])
            expected[n] = kept(states[n])
        assert all(same(x.to_tensors(), y) for x, y in zip(states, expected, strict=True))


def test_forks_share_full_pages_and_copy_the_one_being_filled(tiny_engine: Engine) -> None:
    parent = tiny_engine.read(tiny_engine.empty(), ids(2 * PAGE + 3))
    child = parent.fork()
    ours, theirs = parent.to_tensors(), child.to_tensors()
    shared = [ours[f"layers.2.latents.{p}"].data_ptr() == theirs[f"layers.2.latents.{p}"].data_ptr() for p in range(3)]
    assert shared == [True, True, False]


@given(count=st.integers(1, 4 * PAGE))
def test_tensors_carry_a_state_exactly(tiny_engine: Engine, count: int) -> None:
    value = tiny_engine.read(tiny_engine.empty(), ids(count))
    back = tiny_engine.restore(value.tokens, kept(value))
    assert back.tokens == value.tokens == count
    assert same(back.to_tensors(), value.to_tensors())
    question = ids(5, seed=1)
    _, expected = tiny_engine.next_logits(value, question)
    _, found = tiny_engine.next_logits(back, question)
    assert torch.equal(found, expected)


def test_saved_full_pages_are_taken_as_they_are_and_never_written_to(tiny_engine: Engine) -> None:
    value = tiny_engine.read(tiny_engine.empty(), ids(2 * PAGE + 3))
    tensors = kept(value)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    back = tiny_engine.restore(value.tokens, tensors)
    pages = [name for name in tensors if name.endswith(("latents.0", "latents.1"))]
    assert pages
    assert all(back.to_tensors()[name].data_ptr() == tensors[name].data_ptr() for name in pages)
    tiny_engine.model(torch.tensor(ids(2 * PAGE, seed=2)), back)
    assert all(torch.equal(tensors[name], before[name]) for name in tensors)


def test_reading_on_changes_neither_saved_tensors_nor_full_pages(tiny_engine: Engine) -> None:
    value = tiny_engine.read(tiny_engine.empty(), ids(3 * PAGE + 2))
    saved = value.to_tensors()
    full = {name for page in range(3) for name in state.ModelState.page_names(tiny_engine.config, page)}
    before = {name: tensor.clone() for name, tensor in saved.items()}
    assert full == {f"layers.{n}.latents.{p}" for n in (2, 4) for p in range(3)}
    restored = tiny_engine.restore(value.tokens, saved)
    for moving in (value, restored):
        tiny_engine.model(torch.tensor(ids(PAGE, seed=2)), moving)
        assert same(saved, before)
        assert all(torch.equal(moving.to_tensors()[name], before[name]) for name in full)


@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, 3 * PAGE])
def test_names_and_bytes(tiny_engine: Engine, count: int) -> None:
    value = tiny_engine.read(tiny_engine.empty(), ids(count))
    pages = -(-count // PAGE)
    assert set(value.to_tensors()) == {
        *(f"layers.{n}.{part}" for n in (0, 1, 3) for part in ("conv", "recurrent")),
        *(f"layers.{n}.latents.{p}" for n in (2, 4) for p in range(pages)),
    }
    assert value.nbytes == state.state_bytes(tiny_engine.config, count, torch.float32)
    assert value.nbytes == sum(x.nbytes for x in kept(value).values())


def test_bytes_at_the_published_shape(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(checkpoints.PUBLISHED), "utf-8")
    config = KimiConfig.from_folder(tmp_path)
    assert state.bytes_per_token(config, torch.bfloat16) == 8064
    assert state.fixed_bytes(config, torch.bfloat16) == 20 * (32 * 128 * 128 * 4 + 3 * 3 * 4096 * 2)


def test_recurrent_state_is_float32_whatever_the_weights_are(tiny_engine: Engine) -> None:
    value = ModelState.empty(tiny_engine.config, torch.bfloat16, torch.device("cpu"))
    for layer in value.layers:
        if isinstance(layer, KDAState):
            assert (layer.conv.dtype, layer.recurrent.dtype) == (torch.bfloat16, torch.float32)
        else:
            assert isinstance(layer, MLAState)


def test_tensors_that_do_not_fit_are_named(tiny_engine: Engine) -> None:
    value = tiny_engine.read(tiny_engine.empty(), ids(PAGE + 2))
    good, page = kept(value), "layers.4.latents.1"
    faults = {
        "lacks layers.0.conv": {name: x for name, x in good.items() if name != "layers.0.conv"},
        f"lacks {page}": {name: x for name, x in good.items() if name != page},
        "layers.9.conv": good | {"layers.9.conv": good["layers.0.conv"]},
        f"{page} is torch.float32 .1, 20., not torch.float32 .2, 20.": good | {page: good[page][:1]},
        "layers.1.recurrent is torch.float64": good | {"layers.1.recurrent": good["layers.1.recurrent"].double()},
    }
    for words, tensors in faults.items():
        with pytest.raises(StateError, match=words):
            tiny_engine.restore(value.tokens, tensors)
    for tokens in (value.tokens - 1, value.tokens + 1, PAGE, 3 * PAGE):
        with pytest.raises(StateError, match="latents"):
            tiny_engine.restore(tokens, good)
    assert same(tiny_engine.restore(value.tokens, good).to_tensors(), good)


@given(count=st.integers(0, 30), data=st.data())
def test_the_rows_from_a_token_on(count: int, data: st.DataObject) -> None:
    layer = MLAState(3, torch.float32, torch.device("cpu"))
    latents = torch.arange(count * 3.0).view(count, 3)
    layer.append(latents)
    start = data.draw(st.integers(0, count))
    assert torch.equal(layer.rows(start), latents[start:])
