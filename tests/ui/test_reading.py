"""The card that says what reading takes and how far it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from app import library
from app.expected import expected
from app.home import Home
from app.library import DocumentInfo
from app.worker import Worker
from storage.errors import StorageError
from storage.jobs import JobState, ReadingJob
from tests.ui.test_markup import Shown
from ui import reading


@pytest.fixture
def info(home: Home, tmp_path: Path) -> DocumentInfo:
    """A document that was not read."""
    path = tmp_path / "a.txt"
    path.write_text("The bees of Anvers. " * 40, "utf-8")
    return library.info(home, library.add(home, [path]))


def job(info: DocumentInfo, state: JobState, done: int, updated_at: float = 0.0, error: str = "") -> ReadingJob:
    """A job of 1,000 tokens."""
    return ReadingJob(info.document.id, state, done, 1000, error or None, 1.0, updated_at)


def test_the_offer_is_the_estimate(home: Home, worker: Worker, info: DocumentInfo) -> None:
    html = reading.panel(home, worker, info)
    cost = expected(home, info)
    assert f"to read{cost.tokens} tokens" in Shown(html).text
    assert 'data-do="read"' in html
    assert home.documents.get(info.document.id).tokens == cost.tokens  # counted once


@pytest.mark.parametrize(
    ("state", "actions"),
    [("waiting", ["pause", "cancel"]), ("reading", ["pause", "cancel"]), ("paused", ["resume", "cancel"]),
     ("failed", ["resume", "cancel"])],
)  # fmt: skip
def test_buttons(home: Home, worker: Worker, info: DocumentInfo, state: JobState, actions: list[str]) -> None:
    home.jobs.put(job(info, state, 250, error="<b>" if state == "failed" else ""))
    html = reading.panel(home, worker, info)
    assert [part.partition('"')[0] for part in html.split('data-do="')[1:]] == actions
    assert 'aria-valuenow="25"' in html
    assert "<b>" not in html


def test_speed_is_of_late_and_weighs_by_time() -> None:
    assert reading.tokens_per_second(()) is None
    assert reading.tokens_per_second([(100, 50.0)]) == 50.0
    assert reading.tokens_per_second([(100, 100.0), (200, 50.0)]) == pytest.approx(2 / 0.03)
    assert reading.tokens_per_second([(n, 1.0 if n == 0 else 10.0) for n in range(20)]) == pytest.approx(10.0)


def test_progress_in_words(home: Home, worker: Worker, info: DocumentInfo) -> None:
    at = replace(job(info, "reading", 250), pace=((250, 50.0),))
    assert "Reading · 250 of 1,000 tokens · 50 tokens/s · 15 s left" in Shown(reading._progress(at, 0)).text
    waiting = Shown(reading._progress(job(info, "waiting", 0), 2)).text
    standing = Shown(reading._progress(replace(at, waiting="waiting: somebody asks"), 0)).text
    assert "Reading · 250 of 1,000 tokens · waiting: somebody asks" in standing
    assert "Waiting for its turn · 0 of 1,000 tokens · 2 documents before it" in waiting


def test_buttons_do_what_they_say(home: Home, worker: Worker, info: DocumentInfo) -> None:
    id = info.document.id
    states = []
    for action in ("read", "pause", "resume"):
        reading.act(home, worker, id, action)
        status = worker.status(id)
        states.append(status.state if status else None)
    assert states == ["waiting", "paused", "waiting"]
    reading.act(home, worker, id, "cancel")
    assert worker.status(id) is None
    reading.act(home, worker, id, "remove")
    assert home.documents.list() == []
    with pytest.raises(StorageError):
        reading.act(home, worker, id, "read")
