"""Which wording an answer has: one of the likeliest replies, the same when asked alone, in a report, and with the model
kept in memory."""

from dataclasses import replace
from pathlib import Path

import pytest

from app import answers, deciding, library, reading, session, wording
from app.aids import Aids, Wording
from app.home import Home
from app.reports.generate import generate
from model.beam import Beam, Reply
from model.engine import Engine
from model.sampling import Sampling
from model.state import ModelState

WIDE = Wording(width=5, margin=4.0)
AIDS = Aids(2, True, fit=1.0, wording=WIDE)
QUESTIONS = ["Where is the silver candle?", "Where is the winter road?", "Where is the mill bridge?"]


@pytest.fixture
def document(home: Home, tiny_engine: Engine, book: Path) -> str:
    """A document that has been read; the model computes in float32, and every third of its tokens ends a reply."""
    home._engine = Engine(**(vars(tiny_engine) | {"stop_ids": frozenset(range(0, tiny_engine.config.vocab_size, 3))}))
    home.aids = AIDS
    added = library.add(home, [book])
    reading.read(home, added.id)
    return added.id


def begun(
    home: Home, document: str, sampling: Sampling | None = None
) -> tuple[ModelState, ModelState, answers.Prepared]:
    """A document's state, the one that has decided how the reply begins, and that beginning."""
    _, state = reading.read_state(home, document)
    return state, *deciding.decide(home, state, answers.prepare(home, document, QUESTIONS[0], sampling=sampling))


def replies(home: Home, state: ModelState, prepared: answers.Prepared) -> list[Reply]:
    """What the likeliest replies are."""
    after, logits = home.engine.next_logits(state, prepared.ids)
    steps = home.engine.replies(state, after, logits, Beam(WIDE.width, WIDE.margin, 33))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_of_the_likeliest_replies_the_likeliest_by_the_token_is_given(home: Home, document: str) -> None:
    state, after, prepared = begun(home, document)
    found = replies(home, state, prepared)
    assert len(found) > 2
    expected = wording.best(found)
    worded = wording.word_one(home, state, after, prepared, lambda: False)
    assert worded is not None
    assert worded.ids == expected.ids[:-1]
    assert worded.state.tokens == state.tokens + len(prepared.ids)
    *_, answer = session.ask(home, document, QUESTIONS[0])
    assert isinstance(answer, session.Answer)
    assert answer.raw == prepared.opening + home.engine.tokenizer.decode(list(worded.ids))
    assert answer.tokens_generated == len(worded.ids)
    assert answer.seconds >= answer.seconds_to_first_token > 0


def test_a_longer_reply_may_be_less_likely() -> None:
    short, long = Reply((5, 0), -1.0), Reply((5, 6, 7, 8, 9, 0), -1.2)
    assert wording.best([short, long]) is long
    assert wording.best([short, Reply(long.ids, -4.0)]) is short


def test_a_reply_that_none_comes_near_is_what_the_model_writes(home: Home, document: str) -> None:
    home.aids = replace(AIDS, wording=replace(WIDE, margin=0.0))
    state, after, prepared = begun(home, document)
    worded = wording.word_one(home, state, after, prepared, lambda: False)
    assert worded is not None
    written = home.engine.generate(after, prepared.ids[after.tokens - state.tokens :], Sampling())
    assert list(written) == list(worded.ids)


@pytest.mark.parametrize(
    "aids", [replace(AIDS, wording=None), replace(AIDS, choose_quotes=False), Aids(0, wording=WIDE)]
)
def test_where_no_quote_is_chosen_the_model_writes_as_it_likes(home: Home, document: str, aids: Aids) -> None:
    home.aids = aids
    state, after, prepared = begun(home, document)
    assert wording.word_one(home, state, after, prepared, lambda: False) is None


def test_who_wants_chance_gets_it(home: Home, document: str) -> None:
    state, after, prepared = begun(home, document, Sampling(temperature=0.5))
    assert wording.word_one(home, state, after, prepared, lambda: False) is None


def test_stopped_it_chooses_nothing(home: Home, document: str) -> None:
    state, after, prepared = begun(home, document)
    assert wording.word_one(home, state, after, prepared, lambda: True) is None
    *_, answer = session.ask(home, document, QUESTIONS[0], should_stop=lambda: True)
    assert isinstance(answer, session.Answer)
    assert (answer.stopped, answer.tokens_generated) == (True, 0)


def test_an_answer_too_long_to_choose_is_written_as_it_comes(home: Home, document: str, tiny_engine: Engine) -> None:
    home._engine = Engine(**(vars(tiny_engine) | {"stop_ids": frozenset()}))
    state, after, prepared = begun(home, document)
    assert wording.word_one(home, state, after, prepared, lambda: False) is None
    *_, answer = session.ask(home, document, QUESTIONS[0], sampling=Sampling(max_tokens=40))
    assert isinstance(answer, session.Answer)
    assert answer.tokens_generated == 40


def test_a_conversation_goes_on_behind_a_chosen_wording_as_if_read_anew(home: Home, document: str) -> None:
    *_, first = session.ask(home, document, QUESTIONS[0])
    assert isinstance(first, session.Answer)
    *_, second = session.ask(home, document, QUESTIONS[1], first.conversation)
    again = home.conversations.get(first.conversation)
    home.kept = type(home.kept)()
    other = home.conversations.start(document, "the same")
    home.conversations.append(other.id, list(again.messages[:2]))
    *_, anew = session.ask(home, document, QUESTIONS[1], other.id)
    assert isinstance(second, session.Answer)
    assert isinstance(anew, session.Answer)
    assert second.reason == session.KEPT != anew.reason
    assert second.raw == anew.raw


def test_a_report_gets_the_wordings_that_asking_gives(home: Home, document: str) -> None:
    read, state = reading.read_state(home, document)
    prepared = [answers.prepare(home, document, question) for question in QUESTIONS]
    found = {}
    for number, decided, generation in generate(home, state, prepared, lambda: False):
        assert number not in found
        found[number] = answers.finish(home, decided, read, generation)
    for number, question in enumerate(QUESTIONS):
        *_, alone = session.ask(home, document, question, keep=False)
        assert isinstance(alone, session.Answer)
        assert found[number].raw == alone.raw
        assert found[number].tokens_generated == alone.tokens_generated
