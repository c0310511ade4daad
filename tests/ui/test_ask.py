"""Streaming an answer, stopping it, and going away in the middle of it."""

import threading
from itertools import pairwise
from pathlib import Path

import pytest

from app import library, reading
from app.home import Home
from app.session import Answer
from ui import ask


@pytest.fixture
def document(home: Home, tmp_path: Path) -> str:
    """A document in saved state."""
    path = tmp_path / "a.txt"
    path.write_text("The bees of Anvers. " * 20, "utf-8")
    id = library.add(home, [path]).id
    reading.read(home, id)
    return id


def test_the_text_grows_and_the_answer_comes_last(home: Home, document: str) -> None:
    *texts, answer = ask.stream(home, document, "What about the bees?", None, threading.Event())
    assert isinstance(answer, Answer)
    assert answer.tokens_reused == home.documents.get(document).tokens
    grown = [text for text in texts if isinstance(text, str)]
    assert grown
    assert all(later.startswith(earlier) for earlier, later in pairwise(grown))
    assert answer.raw.startswith(grown[-1])


def test_stopping_keeps_what_has_come(home: Home, document: str) -> None:
    stops = ask.Stops()
    with stops.asking("tab") as stopped:
        stops.stop("another tab")
        stream = ask.stream(home, document, "What about the bees?", None, stopped)
        next(stream)
        stops.stop("tab")
        *_, answer = stream
    assert isinstance(answer, Answer)
    assert answer.stopped
    assert len(home.conversations.get(answer.conversation).messages) == 2
    stops.stop("tab")  # nothing is under way any more, and nothing happens


def test_going_away_keeps_the_question(home: Home, document: str) -> None:
    stream = ask.stream(home, document, "What about the bees?", None, threading.Event())
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    (talk,) = home.conversations.list(document)
    assert [message.role for message in talk.messages] == ["user", "assistant"]
    assert talk.messages[0].text == "What about the bees?"
