"""The replies that a search finds are the likeliest there are, with the likelihood each has by itself."""

import math
from collections.abc import Generator, Iterator
from itertools import product
from typing import Any

import pytest
import torch

from model import state
from model.batch import Brought
from model.beam import Beam, Reply
from model.engine import Engine
from model.state import ModelState
from tests.model.test_batch import ids

ENDS = frozenset({7, 11})
SOME = frozenset({7, 11, 20, 21, 22})
"""The only tokens that may follow, so that all replies can be counted."""


@pytest.fixture(autouse=True, scope="module")
def _small_pages() -> Iterator[None]:
    """Several pages in few tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "PAGE", 13)
        yield


@pytest.fixture
def engine(tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine that only writes `SOME`."""
    few = Engine(**(vars(tiny_engine) | {"stop_ids": ENDS}))
    forbidden = torch.tensor([id not in SOME for id in range(few.config.vocab_size)])
    plain = type(few.model).logits
    monkeypatch.setattr(
        type(few.model), "logits", lambda model, hidden: plain(model, hidden).masked_fill(forbidden, -math.inf)
    )
    return few


def finished(steps: Generator[Brought, None, list[Reply]]) -> tuple[list[Reply], int]:
    """What a search returns, and how many steps it took."""
    count = 0
    while True:
        try:
            assert next(steps) == []
        except StopIteration as end:
            return end.value, count
        count += 1


def asked(engine: Engine) -> tuple[ModelState, ModelState, torch.Tensor]:
    """A document's state, one behind it, and what may follow there."""
    shared = engine.read(engine.empty(), ids(20))
    return shared, *engine.next_logits(shared, ids(9, seed=1))


def all_replies(engine: Engine, shared: ModelState, at: ModelState, logits: torch.Tensor, limit: int) -> list[Reply]:
    """Every reply of at most `limit` tokens, by the likelihood of each, best first."""
    words = [
        (*body, end)
        for length in range(limit)
        for body in product(sorted(SOME - ENDS), repeat=length)
        for end in sorted(ENDS)
    ]
    (likely,) = engine.likelihoods(shared, [at], [logits], [words])
    return sorted(map(Reply, words, likely), key=lambda reply: -reply.likelihood)


def same(ours: list[Reply], expected: list[Reply]) -> bool:
    """The same replies in the same order, as likely."""
    return [x.ids for x in ours] == [x.ids for x in expected] and all(
        math.isclose(a.likelihood, b.likelihood, rel_tol=1e-4) for a, b in zip(ours, expected, strict=True)
    )


def test_a_wide_search_finds_all_replies_in_their_order(engine: Engine) -> None:
    shared, at, logits = asked(engine)
    before = at.tokens
    found, steps = finished(engine.replies(shared, at, logits, Beam(1000, 1e9, 4)))
    assert same(found, all_replies(engine, shared, at, logits, 4))
    assert len(found) == 2 * (1 + 3 + 9 + 27)
    assert (steps, at.tokens) == (3, before)


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0])
def test_only_what_is_nearly_as_likely_as_the_likeliest_is_found(engine: Engine, margin: float) -> None:
    shared, at, logits = asked(engine)
    found, _ = finished(engine.replies(shared, at, logits, Beam(50, margin, 4)))
    best = all_replies(engine, shared, at, logits, 4)
    near = [reply for reply in best if reply.likelihood >= found[0].likelihood - margin - 1e-4]
    said = {reply.ids for reply in found}
    assert same(found, [reply for reply in near if reply.ids in said])
    assert len(found) < len(best)
    if margin == 1.0:
        assert len(found) > 1
        assert found[0].ids == best[0].ids


def test_no_more_than_wanted_are_found_and_none_longer(engine: Engine) -> None:
    shared, at, logits = asked(engine)
    found, steps = finished(engine.replies(shared, at, logits, Beam(3, 1e9, 3)))
    assert len(found) == 3
    assert max(len(reply.ids) for reply in found) <= 3
    assert steps <= 2
    assert finished(engine.replies(shared, at, logits, Beam(3, 1e9, 1)))[1] == 0


def test_without_an_end_nothing_is_found(engine: Engine) -> None:
    shared, at, logits = asked(engine)
    endless = Engine(**(vars(engine) | {"stop_ids": frozenset({1})}))
    assert finished(endless.replies(shared, at, logits, Beam(3, 1e9, 5))) == ([], 4)


def test_a_search_that_is_stopped_ends_at_once_and_finds_nothing(engine: Engine) -> None:
    shared, at, logits = asked(engine)
    stops = iter([False, True, True])
    steps = engine.replies(shared, at, logits, Beam(3, 1e9, 5), lambda: next(stops))
    assert finished(steps) == ([], 1)


def test_a_state_that_is_nearly_full_is_not_overrun(engine: Engine) -> None:
    shared, at, logits = asked(engine)
    config: Any = type(engine.config)(**(vars(engine.config) | {"max_length": at.tokens + 2}))
    small = Engine(**(vars(engine) | {"config": config}))
    cut = finished(small.replies(shared, at, logits, Beam(9, 1e9, 5)))
    assert cut == finished(engine.replies(shared, at, logits, Beam(9, 1e9, 2)))
    assert cut[1] == 1


@pytest.mark.parametrize(("more", "ended"), [(-20.0, False), (20.0, True)])
def test_where_the_likeliest_has_not_ended_at_the_limit_no_shorter_one_is_taken(
    engine: Engine, more: float, ended: bool
) -> None:
    shared, at, logits = asked(engine)
    likely = logits.clone()
    likely[sorted(ENDS)] += more
    found, _ = finished(engine.replies(shared, at, likely, Beam(9, 1e9, 1)))
    assert bool(found) is ended
