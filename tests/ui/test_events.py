"""What events answer where tabs have moved on meanwhile."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest

from app import library
from app.home import Home
from app.worker import Worker
from storage.errors import StorageError
from ui import main
from ui.address import Address
from ui.ask import Asked, Asking
from ui.events import Events
from ui.shared import Site
from ui.view import Pages


@pytest.fixture
def documents(home: Home, tmp_path: Path) -> list[str]:
    """The ids of two documents, not read."""
    made = []
    for name in ("lamp", "bees"):
        (tmp_path / f"{name}.txt").write_text(f"Of {name}.", "utf-8")
        made.append(library.add(home, [tmp_path / f"{name}.txt"], name).id)
    return made


def test_time_changes_nothing_on_a_page_that_is_gone(home: Home, worker: Worker, documents: list[str]) -> None:
    events, tab = Events(Site(home, worker)), request("tab")
    lamp, bees = (f"?document={id}" for id in documents)
    assert "lamp" in events.tick(lamp, tab)["document"]  # nothing is known of this tab yet
    click(events, tab, lamp, "open", documents[1])
    assert events.tick(lamp, tab) == {}
    assert "bees" in events.tick(bees, tab)["document"]
    assert "lamp" in events.tick(lamp, request("another tab"))["document"]


def test_stop_means_the_page_that_is_shown_though_the_tab_has_the_address_of_the_one_before(
    home: Home, worker: Worker, documents: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events, tab = Events(Site(home, worker)), request("tab")
    lamp, bees = (Address(id) for id in documents)
    click(events, tab, bees.query, "open", lamp.document)
    under_way: list[Address] = []
    stopped: list[Address] = []
    monkeypatch.setattr(Asking, "under_way", lambda asking, person, address: address in under_way or None)
    monkeypatch.setattr(Asking, "stop", lambda asking, person, address: stopped.append(address))
    under_way.append(lamp)
    events.stop(bees.query, tab)
    under_way.append(bees)
    events.stop(bees.query, tab)
    assert stopped == [lamp, bees]


def test_a_page_that_cannot_be_shown_leaves_the_tab_where_it_is(
    home: Home, worker: Worker, documents: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> dict[str, Any]:
        raise StorageError("the database is locked")

    events, tab = Events(Site(home, worker)), request("tab")
    lamp = f"?document={documents[0]}"
    click(events, tab, "", "open", documents[0])
    with monkeypatch.context() as patch:
        patch.setattr(Pages, "everything", locked)
        assert "locked" in last(events.click(lamp, pressed("open", documents[1]), tab))["notice"]
    assert "lamp" in events.tick(lamp, tab)["document"]


@pytest.mark.parametrize(("action", "there"), [("rename", True), ("pause", True), ("remove", False)])
def test_who_leaves_a_page_for_another_is_not_led_back_by_what_was_done_there(
    home: Home, worker: Worker, documents: list[str], monkeypatch: pytest.MonkeyPatch, action: str, there: bool
) -> None:
    """The page of the action is made slowly: another document is opened before it is there."""
    events, tab = Events(Site(home, worker)), request("tab")
    lamp, bees = (f"?document={id}" for id in documents)
    click(events, tab, "", "open", documents[0])
    plain = Pages.everything

    def slow(pages: Pages, query: str) -> dict[str, Any]:
        monkeypatch.setattr(Pages, "everything", plain)
        click(events, tab, lamp, "open", documents[1])
        return plain(pages, query)

    monkeypatch.setattr(Pages, "everything", slow)
    done = list(events.click(lamp, pressed(action, documents[0]), tab))
    assert [changes for changes in done if changes] == []
    assert "bees" in events.tick(bees, tab)["document"]
    assert (documents[0] in [document.id for document in home.documents.list()]) is there


def test_a_document_that_is_removed_leaves_the_tab_on_the_first_page(
    home: Home, worker: Worker, documents: list[str]
) -> None:
    events, tab = Events(Site(home, worker)), request("tab")
    lamp = f"?document={documents[0]}"
    click(events, tab, "", "open", documents[0])
    gone = last(events.click(lamp, pressed("remove", documents[0]), tab))
    assert gone["address"] == ""
    assert "lamp" not in gone["library"]
    assert events.tick(lamp, tab) == {}


def test_what_is_taken_in_shows_itself_only_to_a_person_who_waits(
    home: Home, worker: Worker, documents: list[str], tmp_path: Path
) -> None:
    events, tab = Events(Site(home, worker)), request("tab")
    lamp, bees = (f"?document={id}" for id in documents)
    click(events, tab, "", "open", documents[0])
    (tmp_path / "oil.txt").write_text("Of oil.", "utf-8")
    waited = last(events.add_files(lamp, [str(tmp_path / "oil.txt")], tab))
    assert "oil" in waited["document"]
    assert waited["address"] not in (lamp, bees)

    (tmp_path / "wick.txt").write_text("Of wicks.", "utf-8")
    going = events.add_files(waited["address"], [str(tmp_path / "wick.txt")], tab)
    next(going)
    click(events, tab, waited["address"], "open", documents[1])
    left = last(going)
    assert "bees" in left["document"]
    assert "wick" in left["library"]
    assert "address" not in left


def test_an_answer_that_ends_while_its_page_is_made_is_shown(
    home: Home, worker: Worker, documents: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events, tab = Events(Site(home, worker)), request("tab")
    asked = Asked("", Address(documents[0]), "Of what?", raw="Answer: a lamp", error="the lamp went out")
    under_way, everything = [asked], Pages.everything

    def made(pages: Pages, query: str | None) -> dict[str, Any]:
        under_way.clear()
        asked.finished.set()
        return everything(pages, query)

    monkeypatch.setattr(Asking, "under_way", lambda asking, person, address: next(iter(under_way), None))
    monkeypatch.setattr(Pages, "everything", made)
    shown = last(events.click("", pressed("open", documents[0]), tab))
    assert (shown["question"], "the lamp went out" in shown["notice"].lower()) == ("Of what?", True)


def test_the_last_word_of_an_event_changes_nothing(home: Home, worker: Worker, documents: list[str]) -> None:
    events = Events(Site(home, worker))
    parts: dict[str, Any] = {name: gr.HTML() for name in events._page(events._pages(request("tab")), "")}
    opened = main._shown(parts, events.click)("", pressed("open", documents[0]), request("tab"))
    *said, word = opened  # which Gradio says again when the event has ended
    assert "lamp" in said[-1][parts["document"]]
    assert word == gr.skip()


def test_an_event_that_says_nothing_leaves_every_part(home: Home, worker: Worker) -> None:
    parts: dict[str, Any] = {"notice": gr.HTML(), "document": gr.HTML()}
    events = Events(Site(home, worker))
    stopped = main._shown(parts, events.click)("", pressed("several-stop", ""), request("tab"))
    assert list(stopped) == [gr.skip()]
    assert main._shown(parts, lambda: {})() == gr.skip()


def request(tab: str) -> gr.Request:
    """A request of a tab, of a person who need not sign in."""
    return cast(gr.Request, SimpleNamespace(session_hash=tab, username=None))


def pressed(action: str, item: str) -> gr.EventData:
    """What the browser sends of a button."""
    return gr.EventData(None, {"action": action, "item": item, "fields": {}})


def click(events: Events, tab: gr.Request, query: str, action: str, item: str) -> None:
    """Press a button and wait for all that comes of it."""
    last(events.click(query, pressed(action, item), tab))


def last(changes: Any) -> dict[str, Any]:
    """The last of an event's changes."""
    return list(changes)[-1]
