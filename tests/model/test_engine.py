"""The engine: states are values, reading may be cut anywhere, generation stops when it should."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from model import engine as module
from model import mla, state, weights
from model.engine import Engine
from model.errors import CheckpointError, ConfigError, ModelError, TokenizerError
from model.sampling import Sampling
from model.state import ModelState
from tests import checkpoints

ROOT = Path(__file__).parents[2]
CHUNK, PAGE = 32, 13


@pytest.fixture(autouse=True, scope="module")
def _small_chunks() -> Iterator[None]:
    """Several chunks, pages, and both ways of attending to the past, in few tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", CHUNK)
        patch.setattr(state, "PAGE", PAGE)
        patch.setattr(mla, "ABSORB_BELOW", 10)
        yield


@pytest.fixture(scope="module")
def endless(tiny_engine: Engine) -> Engine:
    """An engine that no token stops."""
    return changed(tiny_engine, stop_ids=frozenset())


def changed(engine: Engine, **parts: Any) -> Engine:
    """The engine with other parts."""
    return Engine(**(vars(engine) | parts))


def ids(count: int, seed: int = 0) -> list[int]:
    """Random tokens."""
    return torch.randint(4, 300, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def kept(value: ModelState) -> dict[str, Tensor]:
    """A copy of all that a state holds now."""
    return {name: tensor.clone() for name, tensor in value.to_tensors().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Equal to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def read_in(engine: Engine, document: list[int], cuts: list[int]) -> ModelState:
    """Read a document in pieces."""
    value = engine.empty()
    for start, end in zip([0, *cuts], [*cuts, len(document)], strict=True):
        value = engine.read(value, document[start:end])
    return value


@given(count=st.integers(2, 150), data=st.data())
def test_reading_in_any_pieces_gives_the_same_state(tiny_engine: Engine, count: int, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, count - 1), max_size=8)))
    document = ids(count)
    whole, pieces = tiny_engine.read(tiny_engine.empty(), document), read_in(tiny_engine, document, cuts)
    assert pieces.tokens == whole.tokens == count
    found, expected = pieces.to_tensors(), whole.to_tensors()
    assert found.keys() == expected.keys()
    for name in expected:
        assert (found[name] - expected[name]).norm() <= 2e-5 * expected[name].norm(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cuts", [[CHUNK], [2 * CHUNK], [CHUNK, 2 * CHUNK, 3 * CHUNK]])
def test_stopping_at_a_chunks_end_gives_the_same_bits(
    tiny_checkpoint: Path, dtype: torch.dtype, cuts: list[int]
) -> None:
    engine = Engine.load(tiny_checkpoint, dtype=dtype)
    document = ids(4 * CHUNK - 5)
    whole, pieces = engine.read(engine.empty(), document), read_in(engine, document, cuts)
    assert same(kept(pieces), kept(whole))
    question = ids(20, seed=1)
    assert torch.equal(engine.next_logits(pieces, question)[1], engine.next_logits(whole, question)[1])


def test_logits_can_be_had_at_any_places(endless: Engine) -> None:
    document, question = endless.read(endless.empty(), ids(50)), ids(70, seed=1)
    after, logits = endless.logits_at(document, question, [1, 13, 14, 15, 60, 70])  # a chunk ends behind 14 and 46
    for n, row in zip([1, 13, 14, 15, 60, 70], logits, strict=True):
        torch.testing.assert_close(row, endless.next_logits(document, question[:n])[1], rtol=1e-4, atol=1e-4)
    assert after.tokens == 120


def test_continuations_of_many_states_are_as_likely_as_each_alone(endless: Engine) -> None:
    shared = endless.read(endless.empty(), ids(50))
    bases, logits = zip(*(endless.next_logits(shared, ids(n, seed=n)) for n in (4, 17)), strict=True)
    before = [kept(base) for base in bases]
    continuations = [[[5], [6, 7, 8], [6, 7, 9]], [[10, 11], [12]]]
    found = endless.likelihoods(shared, bases, logits, continuations)
    for base, first, each, totals in zip(bases, logits, continuations, found, strict=True):
        for continuation, total in zip(each, totals, strict=True):
            expected, now, following = 0.0, base, first
            for token in continuation:
                expected += float(following.log_softmax(-1)[token])
                now, following = endless.next_logits(now, [token])
            assert abs(total - expected) < 1e-3
    assert all(same(kept(base), each) for base, each in zip(bases, before, strict=True))


def test_chunks_end_at_multiples_counted_from_the_start(tiny_engine: Engine) -> None:
    begun = tiny_engine.read(tiny_engine.empty(), ids(CHUNK + 7))
    assert [after.tokens for after in tiny_engine.read_chunks(begun, ids(70))] == [64, 96, 109]


def test_what_is_passed_in_is_never_changed(endless: Engine) -> None:
    document = endless.read(endless.empty(), ids(50))
    before = kept(document)
    endless.read(document, ids(40, seed=1))
    endless.next_logits(document, ids(3, seed=2))
    list(endless.generate(document, ids(3, seed=2), Sampling(max_tokens=5)))
    *_, last = endless.read_chunks(document, ids(70, seed=3))
    assert (last.tokens, document.tokens) == (120, 50)
    assert same(kept(document), before)


def test_reading_nothing_changes_nothing(tiny_engine: Engine) -> None:
    document = tiny_engine.read(tiny_engine.empty(), ids(20))
    assert same(kept(tiny_engine.read(document, [])), kept(document))
    with pytest.raises(ValueError, match="at least one token"):
        tiny_engine.next_logits(document, [])


def test_greedy_generation_takes_the_likeliest_of_each_next(endless: Engine) -> None:
    document, question = endless.read(endless.empty(), ids(60)), ids(9, seed=1)
    reply = list(endless.generate(document, question, Sampling(max_tokens=12)))
    assert len(reply) == 12
    for n, token in enumerate(reply):
        _, logits = endless.next_logits(document, question + reply[:n])
        assert token == int(logits.argmax())


def test_sampled_generation_repeats_with_its_seed(endless: Engine) -> None:
    def reply(seed: int) -> list[int]:
        return list(endless.generate(endless.empty(), [5], Sampling(temperature=1.0, seed=seed, max_tokens=20)))

    assert reply(1) == reply(1) != reply(2)


def test_a_stop_token_ends_the_reply_and_is_not_part_of_it(endless: Engine) -> None:
    reply = list(endless.generate(endless.empty(), [5], Sampling(temperature=1.0, max_tokens=20)))
    stopping = changed(endless, stop_ids=frozenset({reply[7]}))
    expected = reply[: reply.index(reply[7])]
    assert list(stopping.generate(endless.empty(), [5], Sampling(temperature=1.0, max_tokens=20))) == expected


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_the_limit_ends_the_reply(endless: Engine, limit: int) -> None:
    assert len(list(endless.generate(endless.empty(), [5], Sampling(max_tokens=limit)))) == limit


def test_a_request_ends_the_reply(endless: Engine) -> None:
    reply: list[int] = []
    for token in endless.generate(endless.empty(), [5], Sampling(max_tokens=50), lambda: len(reply) >= 3):
        reply.append(token)
    assert len(reply) == 3


def test_tokens_come_one_by_one(endless: Engine) -> None:
    flow = endless.generate(endless.empty(), [5], Sampling(max_tokens=50))
    first = [next(flow), next(flow)]
    assert first == list(endless.generate(endless.empty(), [5], Sampling(max_tokens=2)))


def test_the_last_token_is_not_read(endless: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    forward = endless.model.forward

    def counting(ids: torch.Tensor, *how: Any) -> torch.Tensor:
        read.extend(ids.tolist())
        return forward(ids, *how)

    monkeypatch.setattr(endless.model, "forward", counting)
    reply = list(endless.generate(endless.empty(), [5, 6], Sampling(max_tokens=4)))
    assert read == [5, 6, *reply[:3]]


def test_the_models_length_is_kept(endless: Engine) -> None:
    short = changed(endless, config=type(endless.config)(**(vars(endless.config) | {"max_length": 40})))
    full = short.read(short.empty(), ids(38))
    assert len(list(short.generate(full, [5], Sampling(max_tokens=50)))) == 1
    assert list(short.generate(full, [5, 6], Sampling(max_tokens=50))) == []
    with pytest.raises(ModelError, match="41 tokens are more than the 40"):
        short.read(full, [5, 6, 7])
    with pytest.raises(ModelError, match="split the document"):
        next(short.generate(full, [5, 6, 7], Sampling()))


def test_stop_tokens_come_from_configuration_and_tokenizer(tiny_engine: Engine) -> None:
    special = tiny_engine.tokenizer.special
    assert tiny_engine.stop_ids == {2, special["<|im_end|>"], special["<|endoftext|>"]}


AFTER_A_RESTART = """
import sys, pathlib, torch
from safetensors.torch import load_file, save_file
from model import engine, mla, state
engine.CHUNK, state.PAGE, mla.ABSORB_BELOW = 32, 13, 10
folder, saved, question, out = sys.argv[1:]
loaded = engine.Engine.load(pathlib.Path(folder), dtype=torch.bfloat16)
document = loaded.restore(77, load_file(saved))
after, logits = loaded.next_logits(document, [int(id) for id in question.split(",")])
save_file({"logits": logits} | after.to_tensors(), out)
print(loaded.fingerprint)
"""


def test_a_state_goes_on_in_a_new_process_with_the_same_bits(tiny_checkpoint: Path, tmp_path: Path) -> None:
    engine = Engine.load(tiny_checkpoint, dtype=torch.bfloat16)
    document, question = engine.read(engine.empty(), ids(77)), ids(12, seed=1)
    save_file(kept(document), tmp_path / "saved")
    arguments = [tiny_checkpoint, tmp_path / "saved", ",".join(map(str, question)), tmp_path / "out"]
    run = [sys.executable, "-c", AFTER_A_RESTART, *map(str, arguments)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == engine.fingerprint
    after, logits = engine.next_logits(document, question)
    found = dict(load_tensors(tmp_path / "out"))
    assert torch.equal(found.pop("logits"), logits)
    assert same(found, kept(after))


def load_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of each in a file."""
    with module.weights.safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - no dict
            yield name, file.get_tensor(name)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_named(tiny_checkpoint: Path, device: str) -> None:
    with pytest.raises(ModelError, match=f"the device '{device}' cannot be used here") as error:
        Engine.load(tiny_checkpoint, device=device)
    assert "\n" not in str(error.value)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tiny_engine: Engine, tmp_path: Path) -> None:
    size = tiny_engine.tokenizer.size
    assert tiny_engine.config.vocab_size >= size
    with pytest.raises(TokenizerError, match=f"has {size} tokens, the model {size - 1}"):
        Engine.load(checkpoints.write(tmp_path, vocab_size=size - 1))
    Engine.load(checkpoints.write(tmp_path, vocab_size=size))


def loads(patch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that weights are loaded from, from now on."""
    loaded: list[Path] = []
    load = weights.load

    def noted(folder: Path, *parts: Any, **named: Any) -> Any:
        loaded.append(folder)
        return load(folder, *parts, **named)

    patch.setattr(weights, "load", noted)
    return loaded


def test_weights_are_loaded_when_they_are_first_needed(
    tiny_checkpoint: Path, tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = loads(monkeypatch)
    engine = Engine.open(tiny_checkpoint, dtype=torch.float32)
    assert (engine.fingerprint, engine.stop_ids) == (tiny_engine.fingerprint, tiny_engine.stop_ids)
    assert engine.state_bytes(100) == tiny_engine.state_bytes(100)
    other = replace(engine, stop_ids=frozenset())
    assert loaded == []
    assert torch.equal(*(each.next_logits(each.empty(), ids(12))[1] for each in (other, tiny_engine)))
    assert other.model is engine.model
    assert loaded == [tiny_checkpoint]


def test_a_process_that_stays_has_them_loaded_before_anybody_asks(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = loads(monkeypatch)
    Engine.open(tiny_checkpoint, dtype=torch.float32).warm()
    assert loaded == [tiny_checkpoint]


def test_what_its_files_headers_tell_is_told_before_weights_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoints.write(tmp_path)
    monkeypatch.setattr("model.memory.free_bytes", lambda _device: 1000)
    with pytest.raises(CheckpointError, match="do not fit into"):
        Engine.open(folder)
    monkeypatch.undo()
    shard = sorted(folder.glob("*.safetensors"))[-1]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cannot be read"):
        Engine.open(folder)
    shard.unlink()
    with pytest.raises(CheckpointError, match="lacks"):
        Engine.open(folder)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        Engine.load(tmp_path / "nothing")
