"""Many continuations at once are each what they would be alone, whatever their lengths and whenever they end."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model import batch, state
from model import engine as engine_module
from model.engine import Engine
from model.errors import ModelError
from model.sampling import Sampling


@pytest.fixture(autouse=True, scope="module")
def _small_pages() -> Iterator[None]:
    """Several pages in few tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "PAGE", 13)
        yield


@pytest.fixture(scope="module")
def endless(tiny_engine: Engine) -> Engine:
    """An engine that no token stops."""
    return Engine(**(vars(tiny_engine) | {"stop_ids": frozenset()}))


def ids(count: int, seed: int = 0) -> list[int]:
    """Random tokens."""
    return torch.randint(4, 300, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def gather(steps: Iterator[list[tuple[int, int | None]]], rows: int) -> list[list[int]]:
    """Each row's tokens; every row must end, once, and bring nothing after."""
    replies: list[list[int]] = [[] for _ in range(rows)]
    ended: set[int] = set()
    for brought in steps:
        for row, token in brought:
            assert row not in ended
            if token is None:
                ended.add(row)
            else:
                replies[row].append(token)
    assert ended == set(range(rows))
    return replies


@given(document=st.integers(0, 60), lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5), data=st.data())
def test_rows_have_the_logits_they_have_alone(
    tiny_engine: Engine, document: int, lengths: list[int], data: st.DataObject
) -> None:
    shared = tiny_engine.read(tiny_engine.empty(), ids(document))
    said = [ids(length, seed) for seed, length in enumerate(lengths)]
    steps = 4
    with torch.no_grad():
        rows = batch.Rows(tiny_engine.model, shared, [tiny_engine.read(shared, each) for each in said], steps)
        for n in range(steps):
            if n == 2:  # some rows end, the others go on
                kept = data.draw(st.lists(st.sampled_from(range(len(said))), min_size=1, unique=True))
                rows.keep(kept)
                said = [said[row] for row in kept]
            tokens = ids(len(said), seed=100 + n)
            logits = rows.step(tokens).logits
            said = [[*each, token] for each, token in zip(said, tokens, strict=True)]
            alone = torch.stack([tiny_engine.next_logits(shared, each)[1] for each in said])
            assert ((logits - alone).norm(dim=-1) < 5e-5 * alone.norm(dim=-1)).all()


def test_greedy_replies_are_those_given_alone(endless: Engine) -> None:
    shared = endless.read(endless.empty(), ids(50))
    before = {name: tensor.clone() for name, tensor in shared.to_tensors().items()}
    questions = [ids(length, seed) for seed, length in enumerate([9, 1, 30, 14])]
    samplings = [Sampling(max_tokens=limit) for limit in [8, 3, 1, 12]]
    replies = gather(endless.generate_many(shared, questions, samplings), 4)
    assert replies == [list(endless.generate(shared, q, s)) for q, s in zip(questions, samplings, strict=True)]
    assert [len(reply) for reply in replies] == [8, 3, 1, 12]
    assert all(torch.equal(tensor, before[name]) for name, tensor in shared.to_tensors().items())


def test_sampled_replies_are_those_given_alone(endless: Engine) -> None:
    shared = endless.read(endless.empty(), ids(20))
    questions = [ids(5), ids(5), ids(7, seed=1)]
    samplings = [Sampling(temperature=1.0, seed=seed, max_tokens=10) for seed in (0, 1, 2)]
    replies = gather(endless.generate_many(shared, questions, samplings), 3)
    assert replies == [list(endless.generate(shared, q, s)) for q, s in zip(questions, samplings, strict=True)]
    assert replies[0] != replies[1]


def test_a_stop_token_ends_its_row_alone(endless: Engine) -> None:
    shared = endless.read(endless.empty(), ids(20))
    questions, samplings = [ids(5), ids(6, seed=1)], [Sampling(temperature=1.0, seed=3, max_tokens=12)] * 2
    whole = gather(endless.generate_many(shared, questions, samplings), 2)
    stopping = Engine(**(vars(endless) | {"stop_ids": frozenset({whole[0][4]})}))
    replies = gather(stopping.generate_many(shared, questions, samplings), 2)
    assert replies[0] == whole[0][: whole[0].index(whole[0][4])]
    assert replies[1] == list(stopping.generate(shared, questions[1], samplings[1]))


def test_the_models_length_ends_only_the_rows_it_must(endless: Engine) -> None:
    short = Engine(**(vars(endless) | {"config": type(endless.config)(**(vars(endless.config) | {"max_length": 40}))}))
    full = short.read(short.empty(), ids(30))
    replies = gather(short.generate_many(full, [ids(10), ids(4)], [Sampling(max_tokens=50)] * 2), 2)
    assert [len(reply) for reply in replies] == [0, 6]
    with pytest.raises(ModelError, match="split the document"):
        list(short.generate_many(full, [ids(11)], [Sampling()]))


@given(document=st.integers(0, 60), lengths=st.lists(st.integers(1, 30), min_size=2, max_size=5))
def test_questions_read_side_by_side_leave_the_states_they_leave_alone(
    tiny_engine: Engine, document: int, lengths: list[int]
) -> None:
    shared = tiny_engine.read(tiny_engine.empty(), ids(document))
    said = [ids(length, seed) for seed, length in enumerate(lengths)]
    with torch.no_grad():
        states = [shared.fork() for _ in said]
        hidden = batch.read(tiny_engine.model, [torch.tensor(each) for each in said], shared, states)
        logits = tiny_engine.model.logits(torch.stack([each[-1] for each in hidden.split(lengths)]))
        again, since = [shared.fork() for _ in said], [length // 2 for length in lengths]
        tails = batch.read(tiny_engine.model, [torch.tensor(each) for each in said], shared, again, since)
    expected = torch.cat([each[first:] for each, first in zip(hidden.split(lengths), since, strict=True)])
    torch.testing.assert_close(tails, expected, rtol=1e-4, atol=1e-4)
    for one, other in zip(states, again, strict=True):
        assert all(torch.equal(one.to_tensors()[name], tensor) for name, tensor in other.to_tensors().items())
    for each, state_after, found in zip(said, states, logits, strict=True):
        alone, expected = tiny_engine.next_logits(shared, each)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert state_after.tokens == alone.tokens
        ours, theirs = state_after.to_tensors(), alone.to_tensors()
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert (ours[name] - theirs[name]).norm() <= 1e-4 * theirs[name].norm() + 1e-6, name


def test_rows_go_on_from_where_each_is(endless: Engine) -> None:
    shared = endless.read(endless.empty(), ids(30))
    asked = [ids(20, seed=1), ids(3, seed=2), ids(1, seed=3)]
    reading = endless.read_many(shared, [shared] * 3, asked, places=[[7, 20], [3], [1]])
    read: list[tuple[state.ModelState, torch.Tensor]] = []
    while not read:
        try:
            assert next(reading) == []
        except StopIteration as end:
            read = end.value
    for (after, logits), each in zip(read, asked, strict=True):
        alone, expected = endless.next_logits(shared, each)
        assert after.tokens == alone.tokens
        torch.testing.assert_close(logits[-1], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(read[0][1][0], endless.next_logits(shared, asked[0][:7])[1], rtol=1e-4, atol=1e-4)
    bases, rest = [*(after for after, _ in read), shared], [ids(n, seed=9) for n in (2, 6, 1, 4)]
    replies = gather(endless.generate_many(shared, rest, [Sampling(max_tokens=6)] * 4, bases=bases), 4)
    whole = [before + after for before, after in zip([*asked, []], rest, strict=True)]
    assert replies == [list(endless.generate(shared, each, Sampling(max_tokens=6))) for each in whole]


def test_no_more_tokens_than_a_chunk_are_read_in_one_step(endless: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "CHUNK", 10)
    shared = endless.read(endless.empty(), ids(20))
    questions = [ids(length, seed) for seed, length in enumerate([4, 6, 1, 25, 3, 8])]
    steps = list(endless.generate_many(shared, questions, [Sampling(max_tokens=2)] * 6))
    assert steps.index(next(step for step in steps if step)) == 5  # 4 + 6, 1, 25, 3, 8
    replies = gather(iter(steps), 6)
    assert replies == [list(endless.generate(shared, question, Sampling(max_tokens=2))) for question in questions]


def test_a_request_ends_every_row_between_two_steps(endless: Engine) -> None:
    steps: list[object] = []
    flow = endless.generate_many(
        endless.empty(), [ids(3), ids(4)], [Sampling(max_tokens=50)] * 2, lambda: len(steps) >= 5
    )
    for brought in flow:
        steps.append(brought)
    assert steps[0] == []
    assert len(steps) == 5
    assert list(endless.generate_many(endless.empty(), [ids(3)], [Sampling()], lambda: True)) == []
    assert list(endless.generate_many(endless.empty(), [], [])) == []


def test_shared_pages_are_not_copied(endless: Engine) -> None:
    shared = endless.read(endless.empty(), ids(40))
    rows = batch.Rows(endless.model, shared, [endless.read(shared, ids(n)) for n in (3, 5)], 2)
    latents = [(layer, own) for layer, own in zip(shared.layers, rows.layers, strict=True)
               if isinstance(own, batch.MLARows)]
    assert latents
    for layer, own in latents:
        assert own.shared is layer
        assert own.own.shape[:2] == (2, 7)
