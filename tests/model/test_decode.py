"""The step over buffers that never move says what the plain one says, for any rows, and through pages that fill."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from kernels import linear
from model import decode, state
from model.decode import Slots, bucket
from model.engine import Engine
from model.sampling import Sampling
from model.state import ModelState
from tests import checkpoints
from tests.kernels.device import DEVICE, ON_GPU
from tests.model.test_batch import gather, ids
from tests.model.test_engine import kept, same
from tests.model.test_mla import KINDER

PAGE = 64


LAYERS = KINDER | {
    "num_hidden_layers": 3,
    "linear_attn_config": {**checkpoints.CONFIG["linear_attn_config"], "head_dim": 16, "kda_layers": [1],
                           "full_attn_layers": [2, 3]},
}  # fmt: skip
"""The fewest layers that are of every kind."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The tiny model with heads that suit the kernels; no token stops it."""
    folder: Path = checkpoints.write(tmp_path_factory.mktemp("decode") / "checkpoint", **LAYERS)
    loaded = Engine.load(folder, str(DEVICE), torch.float32)
    return Engine(**(vars(loaded) | {"stop_ids": frozenset()}))


@pytest.fixture(autouse=True)
def _kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pages. Triton's kernels, but for what a test does on the plain path; in the interpreter, where a program
    takes milliseconds, with few programs, and matrices are multiplied by PyTorch."""
    monkeypatch.setattr(state, "PAGE", PAGE)
    if not ON_GPU:
        monkeypatch.setattr(linear, "FEW_ON_GPU", 0)
        monkeypatch.setattr(decode, "PROGRAMS", 4)
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")


def plainly(engine: Engine, document: ModelState, question: Sequence[int], sampling: Sampling) -> list[int]:
    """The reply by the references, to one question alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONCEREAD_KERNELS", "reference")
        return list(engine.generate(document, question, sampling))


def read(engine: Engine, count: int, seed: int = 0) -> ModelState:
    """A document's state, by the references: they are faster here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONCEREAD_KERNELS", "reference")
        return engine.read(engine.empty(), ids(count, seed))


@pytest.mark.parametrize("document", [PAGE - 9, 2 * PAGE + 30])
def test_one_row_says_what_the_plain_path_says(engine: Engine, document: int) -> None:
    shared = read(engine, document)
    before, question = kept(shared), ids(7, seed=1)
    for sampling in (Sampling(max_tokens=8), Sampling(temperature=0.8, top_p=0.9, seed=3, max_tokens=4)):
        assert list(engine.generate(shared, question, sampling)) == plainly(engine, shared, question, sampling)
    assert same(kept(shared), before)


def test_rows_of_any_lengths_say_what_each_says_alone(engine: Engine) -> None:
    shared = read(engine, 2 * PAGE + 20)
    questions = [ids(length, seed) for seed, length in enumerate([9, 1, PAGE - 21])]
    samplings = [Sampling(max_tokens=limit) for limit in [5, 2, 4]]
    replies = gather(engine.generate_many(shared, questions, samplings), 3)
    assert replies == [plainly(engine, shared, q, s) for q, s in zip(questions, samplings, strict=True)]
    assert [len(reply) for reply in replies] == [5, 2, 4]


def test_places_without_a_row_change_nothing(engine: Engine) -> None:
    """Five rows in a graph for six, of which some end, and one goes on behind another base."""
    shared = read(engine, PAGE + 3)
    base = engine.read(shared, ids(11, seed=8))
    questions = [ids(3 + n, seed=n) for n in range(5)]
    samplings = [Sampling(max_tokens=limit) for limit in [2, 4, 4, 1, 3]]
    bases = [shared, shared, base, shared, shared]
    replies = gather(engine.generate_many(shared, questions, samplings, bases=bases), 5)
    assert bucket(5) == 6
    for reply, start, question, sampling in zip(replies, bases, questions, samplings, strict=True):
        assert reply == plainly(engine, start, question, sampling)


def test_the_state_behind_a_reply_is_what_reading_it_leaves(engine: Engine) -> None:
    document, question, sampling = read(engine, PAGE - 9), ids(4, seed=1), Sampling(max_tokens=8)
    reply, flow = [], engine.generate(document, question, sampling)
    while True:
        try:
            reply.append(next(flow))
        except StopIteration as end:
            after = end.value
            break
    assert after.tokens == PAGE - 9 + 4 + 7  # over a page's end; the last token of all is not read
    expected = engine.read(document, [*question, *reply[:-1]])
    ours, theirs = after.to_tensors(), expected.to_tensors()
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert (ours[name] - theirs[name]).norm() <= 1e-4 * theirs[name].norm() + 1e-6, name
    more = Sampling(max_tokens=3)
    assert list(engine.generate(after, ids(2, seed=5), more)) == plainly(engine, expected, ids(2, seed=5), more)


def test_slots_serve_one_generation_after_the_other_and_never_two(engine: Engine) -> None:
    first, second = read(engine, 30), read(engine, 2 * PAGE, seed=4)
    sampling = Sampling(max_tokens=3)
    alone = [plainly(engine, each, [5, 6], sampling) for each in (first, second)]
    desk = decode.Desk()
    own = Engine(**(vars(engine) | {"desk": desk}))
    flows = [own.generate(each, [5, 6], sampling) for each in (first, second)]
    woven = [[next(flow) for flow in flows] for _ in range(3)]
    for flow in flows:
        assert next(flow, None) is None
    assert [list(reply) for reply in zip(*woven, strict=True)] == alone
    used = list(desk._free)
    assert len(used) == 2
    assert list(own.generate(second, [5, 6], sampling)) == alone[1]
    assert len(desk._free) == 2
    assert set(desk._free) == set(used)


def test_a_generation_that_is_dropped_gives_its_slots_back(engine: Engine) -> None:
    desk = decode.Desk()
    flow = Engine(**(vars(engine) | {"desk": desk})).generate(read(engine, 8), [5], Sampling(max_tokens=50))
    next(flow)
    next(flow)
    assert desk._free == []
    flow.close()
    assert len(desk._free) == 1


class Replayed:
    """What stands for a CUDA graph where there is none: it can be replayed, and counts it."""

    def __init__(self, slots: Slots, rows: int) -> None:
        self.slots, self.rows, self.replays = slots, rows, 0

    def replay(self) -> None:
        self.replays += 1
        self.slots._step(self.rows)


def test_a_graph_is_captured_once_for_a_number_of_rows_and_replayed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured: list[Replayed] = []

    def capture(self: Slots, rows: int) -> Any:
        captured.append(Replayed(self, rows))
        return captured[-1]

    monkeypatch.setattr(Slots, "_capture", capture)
    slots = Slots(engine.model, 2)
    slots._capturing = True
    desk = decode.Desk()
    desk._free = [slots]
    own = Engine(**(vars(engine) | {"desk": desk}))
    shared = read(engine, PAGE - 3)
    samplings = [Sampling(max_tokens=5), Sampling(max_tokens=3)]
    replies = gather(own.generate_many(shared, [[5], [6, 7]], samplings), 2)
    assert replies == [plainly(engine, shared, q, s) for q, s in zip([[5], [6, 7]], samplings, strict=True)]
    list(own.generate(shared, [9], Sampling(max_tokens=4)))
    # Of two rows there are two steps, of which the first compiles; of one row two, and then three.
    assert [(graph.rows, graph.replays) for graph in captured] == [(2, 1), (1, 4)]


def test_where_no_graph_can_be_had_the_step_runs_all_the_same_and_says_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise RuntimeError("no capture today\nand more")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    slots = Slots(engine.model, 1)
    slots._capturing = True
    desk = decode.Desk()
    desk._free = [slots]
    shared = read(engine, 20)
    own = Engine(**(vars(engine) | {"desk": desk}))
    assert list(own.generate(shared, [5], Sampling(max_tokens=4))) == plainly(
        engine, shared, [5], Sampling(max_tokens=4)
    )
    assert caplog.messages == ["no CUDA graph for 1 rows, decoding is slower: no capture today"]


def test_buckets_hold_any_number_of_rows() -> None:
    assert [bucket(rows) for rows in (1, 2, 5, 9, 33, 64, 65, 129)] == [1, 2, 6, 12, 48, 64, 128, 192]


def test_no_program_of_the_attention_waits_for_a_turn_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows' own pages take two turns at most; what they share, two rows a program, takes one."""
    monkeypatch.setattr(decode, "PROGRAMS", 2 * 132)
    for rows in decode.ROWS:
        assert rows * decode.split(rows) <= 2 * 132
        assert rows % 2 or rows // 2 * decode.split(rows) <= 132
    assert [decode.split(rows) for rows in (1, 32, 64, 512)] == [264, 8, 4, 1]
