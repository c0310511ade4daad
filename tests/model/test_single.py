"""A token at a time by Numba's kernels, against the plain form, with `mini` itself."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache, partialmethod
from weakref import WeakKeyDictionary

import pytest
import torch

from app.settings import MINI
from kernels import backend
from kernels.numbers_numba import is_compiled
from kernels.quant import Grid
from model import batch, single
from model.engine import Engine
from model.state import PAGE, ModelState
from model.transformer import Transformer
from tests.bench.mini import sample_ids

DTYPES = [torch.bfloat16, torch.float32]
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@cache
def engine(dtype: torch.dtype) -> Engine:
    """`mini`, loaded once."""
    return Engine.load(MINI, dtype=dtype)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def row(model: Transformer, state: ModelState) -> single.Single:
    """The row that a processor gets, which is one of these."""
    found = batch.alone(model, state)
    assert isinstance(found, single.Single)
    return found


@dtypes
def test_a_step_is_the_plain_forms(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    if dtype == torch.float32:  # the plain form has every weight rounded to bfloat16, which alone makes 1e-4
        monkeypatch.setattr(Grid, "values", partialmethod(Grid.values, torch.float32))
    own = Engine.load(MINI, dtype=dtype)
    ids = sample_ids(own, 130)
    state = own.read(own.empty(), ids[:100])
    plain, fast = state.fork(), state.fork()
    slow, quick = batch.Alone(own.model, plain), row(own.model, fast)
    for id in ids[100:]:
        expected, found = slow.step([id]).logits[0].log_softmax(-1), quick.step([id]).logits[0].log_softmax(-1)
        kl = float((expected.exp() * (expected - found)).sum())
        assert kl < (0.05 if dtype == torch.bfloat16 else 1e-6)
    quick.settle()
    assert fast.tokens == plain.tokens == 130
    for name, tensor in fast.to_tensors().items():
        other = plain.to_tensors()[name]
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape)
        off = float((tensor.float() - other.float()).norm() / other.float().norm())
        assert off < (0.1 if dtype == torch.bfloat16 else 1e-3), name


@dtypes
def test_a_settled_state_goes_on_to_the_bit_and_the_one_before_is_as_it_was(dtype: torch.dtype) -> None:
    own = engine(dtype)
    ids = sample_ids(own, 60)
    before = own.read(own.empty(), ids[:40])
    kept = {name: tensor.clone() for name, tensor in before.to_tensors().items()}
    embedding = own.model.embedding[ids[40:]].clone()
    straight, first = before.fork(), before.fork()
    one, two = row(own.model, straight), row(own.model, first)
    for id in ids[40:50]:
        one.step([id])
        two.step([id])
    two.settle()
    saved = own.restore(first.tokens, {name: tensor.clone() for name, tensor in first.to_tensors().items()})
    again = row(own.model, saved)
    for id in ids[50:]:
        assert torch.equal(one.step([id]).logits, again.step([id]).logits)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in before.to_tensors().items())
    assert torch.equal(own.model.embedding[ids[40:]], embedding)


def test_far_into_a_document_two_threads_find_what_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    own = engine(torch.bfloat16)
    monkeypatch.setattr(single, "MANY", 2)
    state = own.read(own.empty(), sample_ids(own, PAGE - 2))
    plain = batch.Alone(own.model, state.fork())
    found = []
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            some = row(own.model, state.fork())
            found.append([some.step([id]).logits for id in (5, 7, 11, 13)])  # across the border of a page
        finally:
            torch.set_num_threads(threads)
    for one, two, id in zip(*found, (5, 7, 11, 13), strict=True):
        assert torch.equal(one, two)
        expected = plain.step([id]).logits.log_softmax(-1)
        assert float((expected.exp() * (expected - one.log_softmax(-1))).sum()) < 0.05


def test_without_numba_or_stored_matrices_a_row_takes_the_plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    own = engine(torch.bfloat16)
    plain = Transformer.allocate(own.config, torch.bfloat16, torch.device("cpu"))
    assert isinstance(batch.alone(plain, own.empty()), batch.Alone)
    assert isinstance(batch.alone(own.model, own.empty()), single.Single)
    monkeypatch.setattr(backend, "has_numba", lambda: False)
    assert isinstance(batch.alone(own.model, own.empty()), batch.Alone)


def test_a_few_rows_are_each_what_they_are_alone() -> None:
    own = engine(torch.bfloat16)
    ids = sample_ids(own, 60)
    shared = own.read(own.empty(), ids[:40])
    with torch.no_grad():
        states = [own.read(shared, ids[40 : 42 + n]) for n in range(3)]
        alone = [row(own.model, state.fork()) for state in states]
        together = batch.several(own.model, shared, states, 4)
        assert isinstance(together, batch.Singles)
        assert torch.equal(together.step([5, 7, 11]).logits, torch.cat([each.step([id]).logits for each, id in zip(
            alone, (5, 7, 11), strict=True)]))
        together.keep([2, 0])
        found = together.step([13, 17])
        assert torch.equal(found.logits, torch.cat([alone[2].step([13]).logits, alone[0].step([17]).logits]))
        assert found.likeliest == found.logits.argmax(-1).tolist()


def test_many_rows_or_those_without_kernels_are_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    own = engine(torch.bfloat16)
    shared = own.read(own.empty(), sample_ids(own, 20))
    states = [own.read(shared, [5 + n]) for n in range(batch.FEW + 1)]
    assert isinstance(batch.several(own.model, shared, states, 4), batch.Rows)
    monkeypatch.setattr(backend, "has_numba", lambda: False)
    assert isinstance(batch.several(own.model, shared, states[:2], 4), batch.Rows)


def test_a_first_token_does_not_wait_for_numba() -> None:
    asked = (
        "import sys; from dataclasses import replace; from pathlib import Path\n"
        "from model.engine import Engine; from model.sampling import Sampling\n"
        f"own = replace(Engine.load(Path({str(MINI)!r})), stop_ids=frozenset())\n"
        "reply = own.generate(own.read(own.empty(), range(40)), [5, 7], Sampling(max_tokens=3))\n"
        "next(reply); print('numba' in sys.modules, end=' '); next(reply); print('numba' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "True"]


def test_they_are_there_before_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    own, plain = engine(torch.bfloat16), Transformer.on_meta(engine(torch.bfloat16).config)
    monkeypatch.setattr(single, "_ARRAYS", WeakKeyDictionary())
    for model in (own.model, plain):
        batch.warm(model, own.empty())
    for thread in threading.enumerate():
        if thread.name == "warm":
            thread.join()
    assert list(single._ARRAYS) == [own.model]


def test_the_kernels_can_be_compiled_beforehand(capsys: pytest.CaptureFixture[str]) -> None:
    single.main()
    assert capsys.readouterr().out == ""
    assert is_compiled()
