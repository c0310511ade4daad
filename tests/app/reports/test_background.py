"""Jobs beside the page: queued, run as their owner, cancelled, gone on with after a restart."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import library, reading
from app.home import Home
from app.reports import background, run
from app.reports.background import Background
from app.turns import WAITING
from tests.app.reports.conftest import BRIEF
from tests.app.test_turns import asker


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def worker(home: Home) -> Iterator[Background]:
    """A running one."""
    running = Background(home)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The smallest template, as a file; answers of two words at most."""
    path = tmp_path / "brief.yaml"
    path.write_text(BRIEF + "    length: 1\n", "utf-8")
    return path


def test_a_job_is_run_and_its_files_are_there(
    home: Home, worker: Background, documents: Callable[..., list[str]], template: Path
) -> None:
    job = background.new_job(home, template, documents("One text."))
    assert background.written(job) == []
    worker.submit(home, job.id)
    wait_for(lambda: home.reports.get(job.id).state == "done")
    assert len(background.written(job)) == 5
    assert Path(job.spec["folder"]).is_relative_to(home.settings.home)


def test_a_person_s_job_is_run_as_that_person(home: Home, worker: Background, template: Path, tmp_path: Path) -> None:
    anna = home.of("anna")
    (tmp_path / "a.txt").write_text("Anna's.", "utf-8")
    job = background.new_job(anna, template, [library.add(anna, [tmp_path / "a.txt"]).id])
    worker.submit(anna, job.id)
    wait_for(lambda: anna.reports.get(job.id).state == "done")
    assert (anna.reports.get(job.id).done, anna.reports.get(job.id).failed) == (1, 0)


def test_a_restart_goes_on(
    home: Home, documents: Callable[..., list[str]], template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = documents("One text.", "Another.", "A third.")
    job = background.new_job(home, template, ids)
    first = Background(home)
    real = run.Run._document

    def slowly(work: run.Run, id: str) -> bool:
        time.sleep(0.4)
        return real(work, id)

    monkeypatch.setattr(run.Run, "_document", slowly)
    first.submit(home, job.id)
    first.start()
    wait_for(lambda: home.reports.get(job.id).done > 0)
    first.stop()
    assert home.reports.get(job.id).state == "waiting"
    assert home.reports.get(job.id).done < 3
    second = Background(home)
    second.start()
    wait_for(lambda: home.reports.get(job.id).state == "done")
    second.stop()
    assert home.reports.get(job.id).done == 3


def test_a_report_that_stands_still_says_why(
    home: Home, worker: Background, documents: Callable[..., list[str]], template: Path
) -> None:
    job = background.new_job(home, template, documents("One text."))
    assert job.doing == ""
    reading.read(home, job.spec["documents"][0])
    with asker(home.settings.home) as asking:
        worker.submit(home, job.id)
        wait_for(lambda: home.reports.get(job.id).doing == WAITING)
        asking.communicate()
    wait_for(lambda: home.reports.get(job.id).state == "done")
    assert home.reports.get(job.id).doing == ""


def test_a_lost_job_is_taken_up_and_a_running_one_is_not(
    home: Home, documents: Callable[..., list[str]], template: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = background.new_job(home, template, documents("One text."))
    home.reports.set_state(job.id, "running")
    worker = Background(home)
    assert worker._next() is None
    monkeypatch.setattr(background, "LOST_SECONDS", -1.0)
    assert worker._next() is not None
    elsewhere = run.create(home, run.load(template), job.spec["documents"], tmp_path / "elsewhere")
    home.reports.set_state(job.id, "done")
    home.reports.set_state(elsewhere.id, "waiting")
    assert worker._next() is None


def test_a_broken_job_does_not_end_the_thread(
    home: Home, worker: Background, documents: Callable[..., list[str]], template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(run.Run, "all", lambda _: 1 / 0)
        job = background.new_job(home, template, documents("One text."))
        worker.submit(home, job.id)
        wait_for(lambda: home.reports.get(job.id).state == "failed")
    assert "division" in str(home.reports.get(job.id).error)
    worker.submit(home, job.id)
    wait_for(lambda: home.reports.get(job.id).state == "done")
