"""What the page shows for an address."""

from pathlib import Path

import pytest

from app import library, reading
from app.home import Home
from app.worker import Worker
from storage.documents import Segment, SkippedPart
from tests.ui.test_markup import Shown
from ui.address import Address
from ui.shared import Site
from ui.view import Pages


@pytest.fixture
def pages(home: Home, worker: Worker) -> Pages:
    """The page's makers over an empty library."""
    return Pages(Site(home, worker), home, "")


@pytest.fixture
def document(home: Home, tmp_path: Path) -> str:
    """A document in saved state."""
    path = tmp_path / "a.txt"
    path.write_text("The bees of Anvers.", "utf-8")
    id = library.add(home, [path]).id
    reading.read(home, id)
    return id


def test_an_empty_library_welcomes_and_names_the_model(pages: Pages) -> None:
    shown = pages.everything(None)
    assert "The model in use is tiny" in Shown(shown["document"]).text
    assert shown["address"] == shown["notice"] == ""
    assert "listed here" in shown["library"]
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


def test_what_is_anothers_is_not_shown(pages: Pages, home: Home, document: str) -> None:
    home.documents.give(document, "ann")
    talk = home.conversations.start(document, "a secret question")
    ann, bob = (Pages(pages.site, home.of(name), name) for name in ("ann", "bob"))
    address = Address(document, talk.id).query
    assert "secret" in ann.everything(address)["talks"]
    shown = bob.everything(address)
    assert shown["address"] == ""
    assert "Anvers" not in "".join(map(str, shown.values()))
    assert "secret" not in "".join(map(str, shown.values()))
    assert not bob.can_ask(address)


def test_a_document_in_state_can_be_asked(pages: Pages, home: Home, document: str) -> None:
    home.documents.set_resume_seconds(document, 0.42)
    shown = pages.everything(Address(document).query)
    assert shown["reading"] == ""
    assert "of state · resumes in 0.4 s" in Shown(shown["document"]).text
    assert "Ordinary attention" in Shown(shown["document"]).text
    assert pages.can_ask(Address(document).query)
    assert not pages.can_ask(Address(document, view="settings").query)
    assert not pages.any_busy()


def test_what_was_left_out_is_said_with_its_reason(pages: Pages, home: Home) -> None:
    skipped = [SkippedPart("<b>.bin", "it is no text"), SkippedPart("b.txt", "note: read as windows-1252")]
    id = home.documents.add("T", "text", "words", [Segment(0, 0, 5, "a", None, 1)], skipped, None).id
    shown = Shown(pages.progress(Address(id).query)["document"])
    assert "1 part left out · 1 note" in shown.text
    assert "it is no text: <b>.bin" in shown.text
    assert "b" not in shown.tags


def test_the_settings_tell_what_runs(pages: Pages) -> None:
    shown = pages.everything(Address(view="settings").query)
    assert shown["document"] == shown["thread"] == ""
    assert "cpu" in Shown(shown["other"]).text
    assert 'name="temperature" value="0.0"' in shown["other"]
