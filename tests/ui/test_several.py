"""One question to several documents."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app import library, reading
from app.errors import OncereadError
from app.home import Home
from app.preferences import Preferences
from app.turns import Line
from model.engine import Engine
from model.state import ModelState
from storage.errors import NotFound
from tests.ui.test_markup import Shown
from ui import several
from ui.several import Several

BOOKS = {"bees": "The keeper of the bees was Maud Ellery.", "<b>ships": "The keeper of the ships was Hans Brul."}


@pytest.fixture
def ids(home: Home, tmp_path: Path) -> list[str]:
    """Two documents in saved state."""
    found = []
    for title, text in BOOKS.items():
        (tmp_path / "a.txt").write_text(text, "utf-8")
        found.append(library.add(home, [tmp_path / "a.txt"], title).id)
        reading.read(home, found[-1])
    return found


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The model quotes the first of the books when this is set, or the answer is stopped."""
    gate = threading.Event()

    def generate(self: Engine, _state: ModelState, _ids: Sequence[int], _: object, stop: object) -> Iterator[int]:
        assert callable(stop)
        while not (gate.wait(0.02) or stop()):
            pass
        yield from self.tokenizer.encode('Quote: "The keeper of the bees was Maud Ellery."\nAnswer: Maud')

    monkeypatch.setattr(Engine, "generate", generate)
    return gate


def test_every_document_answers_and_each_quote_leads_to_its_conversation(
    home: Home, ids: list[str], gate: threading.Event
) -> None:
    asking = Several(Line())
    asked = asking.ask(home, "ann", " Who was the keeper? ", ids, Preferences(evidence=0))
    assert asking.is_busy("ann")
    assert "0 of 2 documents answered" in Shown(several.result(home, asked)).text
    with pytest.raises(OncereadError, match="wait for it"):
        asking.ask(home, "ann", "And?", ids, Preferences())
    gate.set()
    assert asked.finished.wait(60)
    assert asked.error == ""
    html = several.result(home, asking.latest("ann"))
    assert html == several.result(home, Several(Line()).latest("ann"))  # as after a restart
    shown = Shown(html)
    assert "Who was the keeper?Maud [1]" in shown.text  # written by the model from both answers
    assert "b" not in shown.tags
    talk = home.conversations.list(ids[0])[0]
    assert f"?document={ids[0]}&amp;conversation={talk.id}" in html
    assert talk.messages[0].text == "Who was the keeper?"
    assert len(home.conversations.list(ids[1])) == 1
    assert several.result(home.of("bob"), asking.latest("bob")) == ""


def test_it_can_be_stopped_and_ends(home: Home, ids: list[str], gate: threading.Event) -> None:
    asking = Several(Line())
    asked = asking.ask(home, "", "Who?", ids, Preferences())
    asking.end()
    assert asked.finished.is_set()
    assert "Stopped before" in Shown(several.result(home, asked)).text


def test_earlier_answers_are_folded_behind_their_questions(home: Home, ids: list[str], gate: threading.Event) -> None:
    gate.set()
    asking = Several(Line())
    for question in ("First?", "<b>Second?"):
        assert asking.ask(home, "", question, ids, Preferences(evidence=0)).finished.wait(60)
    html = several.result(home, asking.latest(""))
    shown = Shown(html)
    assert shown.text.index("<b>Second?") < shown.text.index("Earlier") < shown.text.index("First?")
    assert shown.tags.count("details") == 1
    assert "b" not in shown.tags
    first, second = (kept.id for kept in home.composed.list()[::-1])
    assert f"/download/several/{second}.md" in html
    home.composed.remove(second)
    left = several.result(home, asking.latest(""))
    assert f"/download/several/{first}.md" in left
    assert "Second?" not in left


def test_a_document_removed_while_it_is_asked_is_said(home: Home, ids: list[str], gate: threading.Event) -> None:
    asked = Several(Line()).ask(home, "", "Who?", ids, Preferences(evidence=0))
    library.remove(home, ids[1])
    gate.set()
    assert asked.finished.wait(60)
    assert "No document" in Shown(several.result(home, asked)).text
    assert home.composed.list() == []


def test_what_cannot_be_asked(home: Home, ids: list[str]) -> None:
    asking = Several(Line())
    with pytest.raises(OncereadError, match="empty"):
        asking.ask(home, "", " ", ids, Preferences())
    with pytest.raises(OncereadError, match="two documents"):
        asking.ask(home, "", "Who?", ids[:1], Preferences())
    with pytest.raises(NotFound):
        asking.ask(home.of("bob"), "bob", "Who?", ids, Preferences())


def test_the_form_offers_what_is_read(home: Home, ids: list[str]) -> None:
    shown = Shown(several.panel(home, None))
    assert "bees" in shown.text
    assert "<b>ships" in shown.text
    assert "b" not in shown.tags
    library.remove(home, ids[0])
    assert "Read two documents first" in several.panel(home, None)
