"""What the page shows for an address."""

from pathlib import Path

import pytest

from app import library, reading
from app.home import Home
from app.worker import Worker
from storage.documents import Segment, SkippedPart
from tests.ui.test_markup import Shown
from ui.address import Address
from ui.reading import Paces
from ui.view import WELCOME, Pages


@pytest.fixture
def pages(home: Home, worker: Worker) -> Pages:
    """The page's makers over an empty library."""
    return Pages(home, worker, Paces())


@pytest.fixture
def document(home: Home, tmp_path: Path) -> str:
    """A document in saved state."""
    path = tmp_path / "a.txt"
    path.write_text("The bees of Anvers.", "utf-8")
    id = library.add(home, [path]).id
    reading.read(home, id)
    return id


def test_an_empty_library_welcomes(pages: Pages) -> None:
    shown = pages.everything(None)
    assert shown["document"] == WELCOME
    assert shown["address"] == shown["notice"] == shown["library"] == ""
    assert not pages.can_ask(None)


def test_a_document_that_is_gone_is_said_to_be(pages: Pages) -> None:
    shown = pages.everything("?document=ffff&conversation=1")
    assert shown["address"] == ""
    assert "not in the library" in shown["notice"]


def test_a_conversation_of_another_document_is_not_shown(pages: Pages, home: Home, document: str) -> None:
    other = home.documents.add("Other", "text", "words", [Segment(0, 0, 5, "o", None, 1)], [], None).id
    talk = home.conversations.start(other, "a secret question")
    shown = pages.everything(Address(document, talk.id).query)
    assert shown["address"] == Address(document).query
    assert "secret" not in "".join(str(value) for value in shown.values())
    assert "not there" in shown["notice"]
    assert pages.quote(Address(document, talk.id).query, "1.0") == pages.quote(None, "1.0")


def test_a_document_in_state_can_be_asked(pages: Pages, document: str) -> None:
    shown = pages.everything(Address(document).query)
    assert shown["reading"] == ""
    assert "of saved state" in shown["document"]
    assert pages.can_ask(Address(document).query)
    assert not pages.any_busy()


def test_what_was_left_out_is_said_with_its_reason(pages: Pages, home: Home) -> None:
    skipped = [SkippedPart("<b>.bin", "it is no text"), SkippedPart("b.txt", "note: read as windows-1252")]
    id = home.documents.add("T", "text", "words", [Segment(0, 0, 5, "a", None, 1)], skipped, None).id
    shown = Shown(pages.progress(Address(id).query)["document"])
    assert "1 part left out · 1 note" in shown.text
    assert "<b>.bin it is no text" in shown.text
    assert "b" not in shown.tags


def test_the_model_is_named(pages: Pages) -> None:
    assert Shown(pages.model_line()).text == "OncereadModel: tiny, 0 million parameters, on cpu."
