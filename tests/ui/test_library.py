"""The library's cards, and taking files in."""

from pathlib import Path

from app import library, reading
from app.home import Home
from app.worker import Worker
from storage.jobs import ReadingJob
from tests.ui.test_markup import Shown
from ui import library as shelf


def uploaded(folder: Path, name: str, text: str) -> Path:
    """A file as Gradio leaves an upload: alone in a folder of its own."""
    path = folder / str(len(list(folder.iterdir()))) / name
    path.parent.mkdir()
    path.write_text(text, "utf-8")
    return path


def test_cards(home: Home, worker: Worker, tmp_path: Path) -> None:
    assert "listed here" in shelf.listing(home, worker, "")
    title = "<img src=x onerror=alert(1)> & co"
    document = library.add(home, [uploaded(tmp_path, "a.txt", "Some words.")], title)
    listing = shelf.listing(home, worker, document.id)
    assert Shown(listing).text == f"Library{title}text · 11 charactersnot read yet"
    assert "img" not in Shown(listing).tags
    assert "aria-current=page" in listing
    assert "aria-current" not in shelf.listing(home, worker, "another")


def test_states(home: Home, worker: Worker, tmp_path: Path) -> None:
    document = library.add(home, [uploaded(tmp_path, "a.txt", "Some words.")])

    def state() -> str:
        return shelf.state_of(library.info(home, document), worker)

    for job_state, words in [("waiting", "waiting"), ("paused", "paused"), ("failed", "stopped by an error")]:
        home.jobs.put(ReadingJob(document.id, job_state, 0, 0, None, 0.0, 0.0))  # type: ignore[arg-type]
        assert state() == words
    home.jobs.put(ReadingJob(document.id, "reading", 30, 120, None, 0.0, 0.0))
    assert state() == "reading, 25 %"
    reading.read(home, document.id)
    assert state() == "read"
