"""What the reader settles is answered before the state is taken up and the weights are loaded; later both are there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app import library, reading, session, states
from app.aids import Aids
from app.errors import ReadingStopped
from app.home import Home
from model import weights
from model.errors import CheckpointError
from model.sampling import Sampling

SHORT = Sampling(max_tokens=8)
FIRST, SECOND = "Where is the silver candle?", "Where is the mill?"
SURE = Aids(2, True, fit=1.0, point=-1e9)
"""With these the reader is always sure."""
SILENT = replace(SURE, point=None)
"""With these it is not asked."""


@pytest.fixture
def document(pointing_home: Home, book: Path) -> str:
    """A document that has been read."""
    added = library.add(pointing_home, [book])
    reading.read(pointing_home, added.id)
    return added.id


@pytest.fixture
def again(pointing_home: Home, document: str) -> Callable[[Aids], Home]:
    """Opens the library as a new process does, with these aids."""

    def opened(aids: Aids) -> Home:
        home = Home(pointing_home.settings)
        home.aids = aids
        return home

    return opened


@pytest.fixture
def needed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was loaded or taken up, in order."""
    seen: list[str] = []
    noted(monkeypatch, weights, "load", seen)
    noted(monkeypatch, states, "restore", seen)
    return seen


def noted(patch: pytest.MonkeyPatch, module: Any, name: str, seen: list[str]) -> None:
    """Note each call of a function."""
    real = getattr(module, name)

    def call(*parts: Any, **named: Any) -> Any:
        seen.append(name)
        return real(*parts, **named)

    patch.setattr(module, name, call)


def ask(home: Home, document: str, question: str = FIRST, conversation: int | None = None) -> session.Answer:
    """The answer."""
    *_, answer = session.ask(home, document, question, conversation, SHORT)
    assert isinstance(answer, session.Answer)
    return answer


def untimed(answer: session.Answer) -> session.Answer:
    """The answer without its times and its conversation."""
    return replace(answer, seconds=0.0, seconds_to_first_token=0.0, conversation=0)


def damage(home: Home) -> None:
    """Zero the states of the first layer."""
    with home.database.writing() as session:
        done = session.connection().exec_driver_sql(
            "UPDATE tensors SET data = zeroblob(length) WHERE name = 'layers.0.recurrent'"
        )
        assert done.rowcount


@pytest.mark.parametrize("question", [FIRST, "Which penguins juggle helicopters?"])
def test_what_is_settled_without_the_model_needs_neither_state_nor_weights(
    again: Callable[[Aids], Home], document: str, needed: list[str], question: str
) -> None:
    home = again(SURE)
    answer = ask(home, document, question)
    assert needed == []
    assert (answer.pointed, answer.tokens_generated, answer.tokens_read) == (question == FIRST, 0, 0)
    assert (answer.tokens_reused, answer.reason) == (home.documents.get(document).tokens, states.FOUND)
    said = home.conversations.get(answer.conversation).messages
    assert [message.text for message in said] == [question, answer.raw]
    warm = again(SURE)
    reading.read_state(warm, document)
    assert untimed(ask(warm, document, question)) == untimed(answer)


def test_a_refusal_of_the_reader_needs_neither(
    again: Callable[[Aids], Home], document: str, needed: list[str]
) -> None:
    answer = ask(again(replace(SURE, point=0.0, none=-1e9, none_far=-1e9)), document)
    assert (answer.found, answer.tokens_generated) == (False, 0)
    assert needed == []


def test_a_question_for_the_model_goes_on_behind_it_as_ever(
    again: Callable[[Aids], Home], document: str, needed: list[str]
) -> None:
    home = again(SURE)
    first = ask(home, document)
    home.aids = SILENT
    second = ask(home, document, SECOND, first.conversation)
    assert needed == ["load", "restore"]
    assert second.tokens_generated > 0
    assert second.reason == states.FOUND
    third = ask(home, document, FIRST, first.conversation)
    assert needed == ["load", "restore"]
    assert third.reason == session.KEPT

    other = again(SURE)  # which has forgotten where the conversation was
    talk = ask(other, document).conversation
    other.kept.forget(talk)
    other.aids = SILENT
    assert untimed(ask(other, document, SECOND, talk)) == untimed(second)


def test_the_first_question_for_the_model_is_answered_as_ever(
    again: Callable[[Aids], Home], document: str, needed: list[str]
) -> None:
    answer = ask(again(SILENT), document)
    assert needed == ["load", "restore"]
    warm = again(SILENT)
    reading.read_state(warm, document)
    assert untimed(ask(warm, document)) == untimed(answer)


def test_a_document_that_was_not_read_is_read_first(
    again: Callable[[Aids], Home], needed: list[str], tmp_path: Path
) -> None:
    text = tmp_path / "other.txt"
    text.write_text("The silver candle is in the mill. The letter is under the stone.", "utf-8")
    home = again(SURE)
    document = library.add(home, [text]).id
    answer = ask(home, document)
    assert (answer.pointed, answer.reason, answer.tokens_reused) == (True, "not read before", 0)
    assert needed == ["load", "restore"]
    assert home.snapshots.whole(document, states.maker_of(home.engine)) == home.documents.get(document).tokens


def test_a_damaged_state_is_read_again_once_the_model_is_needed(
    again: Callable[[Aids], Home], document: str
) -> None:
    home = again(SURE)
    damage(home)
    first = ask(home, document)
    assert (first.pointed, first.reason) == (True, states.FOUND)
    home.aids = SILENT
    second = ask(home, document, SECOND, first.conversation)
    assert second.reason.startswith("the saved state was damaged and is read again")
    assert second.tokens_reused < first.tokens_reused
    assert not [verdict for verdict in home.snapshots.verify() if verdict.damaged]


def test_who_stops_while_it_is_read_again_leaves_no_question(again: Callable[[Aids], Home], document: str) -> None:
    home = again(SILENT)
    damage(home)
    with pytest.raises(ReadingStopped):
        list(session.ask(home, document, FIRST, should_stop=lambda: True))
    assert home.conversations.list(document) == []


def test_weights_that_cannot_be_loaded_are_told_of_before_anything_is_shown(
    again: Callable[[Aids], Home], document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise CheckpointError("download it again")

    home = again(SILENT)
    monkeypatch.setattr(weights, "load", fail)
    with pytest.raises(CheckpointError, match="download it again"):
        next(session.ask(home, document, FIRST))
    assert home.conversations.list(document) == []
    home.aids = SURE
    assert ask(home, document).pointed


def test_the_reader_waits_for_nobody_who_uses_the_model(again: Callable[[Aids], Home], document: str) -> None:
    home = again(SURE)
    with home.turns.reading():
        assert ask(home, document).pointed
