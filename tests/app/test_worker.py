"""The background worker: reads, pauses, goes on after a restart, and survives failures."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import library, reading
from app.home import Home
from app.turns import WAITING
from app.worker import MOST_POINTS, Pace, Worker
from model.errors import ModelError
from tests.app.test_turns import asker


@pytest.fixture
def worker(home: Home) -> Iterator[Worker]:
    """A running worker."""
    running = Worker(home)
    running.start()
    yield running
    running.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def state_of(worker: Worker, document: str) -> str | None:
    """The state of a document's job."""
    job = worker.status(document)
    return job.state if job else None


def waiting(home: Home, document: str) -> str | None:
    """Why the reading of a document stands still."""
    job = home.jobs.get(document)
    return job.waiting if job else None


def test_a_submitted_document_is_read(home: Home, worker: Worker, book: Path) -> None:
    document = library.add(home, [book])
    worker.submit(document.id)
    wait_for(lambda: state_of(worker, document.id) == "done")
    job = worker.status(document.id)
    assert job is not None
    assert job.done == job.total == home.documents.get(document.id).tokens
    assert [tokens for tokens, _ in job.pace] == sorted({tokens for tokens, _ in job.pace})
    assert job.pace[-1][0] == job.total
    assert all(speed > 0 for _, speed in job.pace)
    assert reading.read(home, document.id).tokens_read == 0


def test_a_reading_that_stands_still_says_why(home: Home, worker: Worker, book: Path) -> None:
    document = library.add(home, [book])
    with asker(home.settings.home) as asking:
        worker.submit(document.id)
        wait_for(lambda: waiting(home, document.id) == WAITING)  # from the row: other processes see it, too
        asking.communicate()
    wait_for(lambda: state_of(worker, document.id) == "done")
    assert waiting(home, document.id) == ""


def test_an_unfinished_job_is_taken_up_by_the_next_start(home: Home, book: Path) -> None:
    document = library.add(home, [book])
    first = Worker(home)
    first.submit(document.id)
    first.start()
    wait_for(lambda: (job := first.status(document.id)) is not None and job.done > 0)
    first.stop()
    assert state_of(first, document.id) in ("reading", "done")
    second = Worker(home)
    second.start()
    wait_for(lambda: state_of(second, document.id) == "done")
    second.stop()


def test_pause_and_resume(home: Home, worker: Worker, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_down(monkeypatch)
    document = library.add(home, [book])
    worker.submit(document.id)
    wait_for(lambda: (job := worker.status(document.id)) is not None and job.done > 0)
    worker.pause(document.id)
    assert state_of(worker, document.id) == "paused"
    wait_for(lambda: bool(home.snapshots.find(document.id)))
    time.sleep(0.5)
    assert state_of(worker, document.id) == "paused"
    assert not home.snapshots.find(document.id)[0].complete
    worker.resume(document.id)
    wait_for(lambda: state_of(worker, document.id) == "done")


def test_cancel_drops_the_job(home: Home, worker: Worker, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_down(monkeypatch)
    document = library.add(home, [book])
    worker.submit(document.id)
    wait_for(lambda: (job := worker.status(document.id)) is not None and job.done > 0)
    worker.cancel(document.id)
    time.sleep(1)
    assert worker.status(document.id) is None


@pytest.mark.parametrize("error", [ModelError("too long: split it"), RuntimeError("too long: split it")])
def test_a_failure_is_recorded_and_the_worker_lives(
    home: Home, worker: Worker, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real = reading.read

    def fail_on_bad(home: Home, document_id: str, *more: object) -> reading.ReadResult:
        if home.documents.get(document_id).title == "Bad":
            raise error
        return real(home, document_id, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read", fail_on_bad)
    (tmp_path / "bad.txt").write_text("Something.", "utf-8")
    bad = library.add(home, [tmp_path / "bad.txt"], title="Bad")
    good = library.add(home, [book])
    worker.submit(bad.id)
    worker.submit(good.id)
    wait_for(lambda: state_of(worker, good.id) == "done")
    job = worker.status(bad.id)
    assert job is not None
    assert job.state == "failed"
    assert "too long: split it" in str(job.error)


def test_a_removed_document_does_not_end_the_worker(home: Home, worker: Worker, book: Path, tmp_path: Path) -> None:
    document = library.add(home, [book])
    worker.submit(document.id)
    worker.cancel(document.id)
    library.remove(home, document.id)
    (tmp_path / "other.txt").write_text("Another text.", "utf-8")
    other = library.add(home, [tmp_path / "other.txt"])
    worker.submit(other.id)
    wait_for(lambda: state_of(worker, other.id) == "done")


def slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make reading slow enough to act on while it goes on."""
    real = reading._Reading._report

    def report(self: reading._Reading, *facts: float) -> None:
        real(self, *facts)  # type: ignore[arg-type]
        time.sleep(0.3)

    monkeypatch.setattr(reading._Reading, "_report", report)


def test_a_pace_goes_on_and_stays_short() -> None:
    pace = Pace([(100, 50.0), (200, 40.0)])
    pace.note(150, 0.0)  # taken up at the last commit, which is before what was read
    pace.note(180, 1.0)
    assert pace.points == [(100, 50.0), (180, 30.0)]
    for n in range(1000):
        pace.note(200 + n, 2.0 + n)
    assert len(pace.points) <= MOST_POINTS
    assert pace.points[0] == (100, 50.0)
    assert pace.points[-1] == (1199, 1.0)


def test_the_queue_is_in_the_order_served(home: Home, book: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("something else", "utf-8")
    first, second = library.add(home, [book]).id, library.add(home, [other]).id
    worker = Worker(home)
    worker.submit(first)
    worker.submit(second)
    assert [job.document_id for job in worker.queue()] == [first, second]
    worker.pause(first)
    assert [job.document_id for job in worker.queue()] == [second]
