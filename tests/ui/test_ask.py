"""Questions under way: they grow, stop, wait in line, and end without anybody looking."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app import library, reading
from app.errors import OncereadError
from app.home import Home
from app.preferences import Preferences
from model.engine import Engine
from model.state import ModelState
from storage.errors import NotFound
from ui import ask
from ui.address import Address
from ui.ask import Asking


@pytest.fixture
def document(home: Home, tmp_path: Path) -> str:
    """A document in saved state."""
    path = tmp_path / "a.txt"
    path.write_text("The bees of Anvers. " * 20, "utf-8")
    id = library.add(home, [path]).id
    reading.read(home, id)
    return id


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The model says a word, and goes on when this is set or the answer is stopped."""
    gate = threading.Event()

    def generate(self: Engine, _state: ModelState, _ids: Sequence[int], _: object, stop: object) -> Iterator[int]:
        yield from self.tokenizer.encode("bees, ")
        while not gate.wait(0.02):
            assert callable(stop)
            if stop():
                return
        yield from self.tokenizer.encode("bees")

    monkeypatch.setattr(Engine, "generate", generate)
    return gate


def test_an_answer_ends_without_anybody_looking(home: Home, document: str) -> None:
    asked = Asking().ask(home, "", Address(document), " What about the bees? ", Preferences(max_tokens=8))
    assert asked.finished.wait(30)
    assert asked.answer is not None
    assert asked.error == ""
    assert asked.answer.raw.startswith(asked.raw[:3])
    (talk,) = home.conversations.list(document)
    assert talk.messages[0].text == "What about the bees?"
    assert home.documents.get(document).resume_seconds == asked.answer.seconds_to_first_token


def test_people_are_served_in_turn_and_told_their_place(home: Home, document: str, gate: threading.Event) -> None:
    asking = Asking()
    first, second = (asking.ask(home, name, Address(document), "Bees?", Preferences()) for name in ("ann", "bob"))
    changes = second.follow()
    while second.ahead != 1:
        next(changes)
    assert asking.under_way("bob", Address(document)) is second
    assert asking.under_way("bob", Address(document, 7)) is None
    asking.stop("bob", Address("another"))
    assert not second.stopped.is_set()
    gate.set()
    assert first.finished.wait(30)
    assert second.finished.wait(30)
    assert second.ahead == 0
    assert first.raw == second.raw == "bees, bees"
    assert asking.under_way("bob", Address(document)) is None


def test_stopping_keeps_what_has_come(home: Home, document: str, gate: threading.Event) -> None:
    asking = Asking()
    asked = asking.ask(home, "", Address(document), "Bees?", Preferences())
    for _ in asked.follow():
        if asked.raw:
            asking.stop("", Address(document))
    assert asked.answer is not None
    assert asked.answer.stopped
    assert asked.answer.raw == "bees, "
    assert len(home.conversations.get(asked.answer.conversation).messages) == 2


def test_ending_stops_everybody(home: Home, document: str, gate: threading.Event) -> None:
    asking = Asking()
    under_way = [asking.ask(home, f"p{n}", Address(document), "Bees?", Preferences()) for n in range(3)]
    asking.end()
    assert all(asked.finished.is_set() for asked in under_way)


def test_what_cannot_be_asked(home: Home, document: str, gate: threading.Event) -> None:
    asking = Asking()
    with pytest.raises(OncereadError, match="empty"):
        asking.ask(home, "", Address(document), "  ", Preferences())
    with pytest.raises(NotFound):
        asking.ask(home.of("bob"), "bob", Address(document), "Bees?", Preferences())
    asking.ask(home, "", Address(document), "Bees?", Preferences())
    with pytest.raises(OncereadError, match="one answer at a time"):
        asking.ask(home, "", Address(document), "And wasps?", Preferences())
    talks = [home.conversations.start(document, f"Of bees, {n}").id for n in range(ask.MOST_EACH)]
    for talk in talks[1:]:
        asking.ask(home, "", Address(document, talk), "Bees?", Preferences())
    with pytest.raises(OncereadError, match="too many"):
        asking.ask(home, "", Address(document, talks[0]), "Bees?", Preferences())
    asking.end()


def test_a_fault_is_said_and_holds_nobody_up(home: Home, document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Iterator[int]:
        raise ZeroDivisionError
        yield 0

    asking = Asking()
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "generate", broken)
        failed = asking.ask(home, "", Address(document), "Bees?", Preferences())
        assert failed.finished.wait(30)
    assert failed.error == ask.FAULT
    asked = asking.ask(home, "", Address(document), "Bees?", Preferences(max_tokens=4))
    assert asked.finished.wait(30)
    assert asked.answer is not None


def test_twenty_people_ask_at_once_and_all_are_served(home: Home, document: str) -> None:
    asking = Asking()
    under_way = [
        asking.ask(home, f"person {n}", Address(document), f"What about the bees, {n}?", Preferences(max_tokens=6))
        for n in range(20)
    ]
    told: list[set[int]] = [set() for _ in under_way]

    def look(n: int) -> None:
        for _ in under_way[n].follow():
            told[n].add(under_way[n].ahead)

    tabs = [threading.Thread(target=look, args=(n,)) for n in range(20)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join(120)
    assert all(asked.answer is not None and not asked.error for asked in under_way)
    assert max(max(places) for places in told) >= 10  # who came last saw how many were before
    assert len(home.conversations.list(document)) == 20
