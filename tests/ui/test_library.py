"""The library's cards, and taking files in."""

from dataclasses import replace
from pathlib import Path

from app import library, reading
from app.home import Home
from app.words import size
from app.worker import Worker
from storage.jobs import ReadingJob
from tests.ui.test_markup import Shown
from ui import library as shelf
from ui import reports


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


def test_documents_of_one_title_are_told_apart(home: Home, worker: Worker, tmp_path: Path) -> None:
    first, second = (library.add(home, [uploaded(tmp_path, name, name)], "Tales") for name in ("one.txt", "two.txt"))
    home.jobs.put(ReadingJob(first.id, "paused", 0, 9, None, 0.0, 0.0))
    shown = Shown(shelf.listing(home, worker, "")).text
    assert shown.count("Tales (one.txt)") == 2  # in the queue, and among the documents
    assert shown.count("Tales (two.txt)") == 1
    boxes = Shown(reports.panel(home)).text
    assert "Tales (one.txt)" in boxes
    assert "Tales (two.txt)" in boxes
    assert second.title == first.title == "Tales"


def test_the_page_says_for_a_while_whose_state_made_room(home: Home, worker: Worker, tmp_path: Path) -> None:
    first, second = (library.add(home, [uploaded(tmp_path, n, f"{n} words")], n.upper()) for n in ("one", "two"))
    taken = reading.read(home, first.id).state_bytes
    assert "make room" not in shelf.listing(home, worker, "")
    home.settings = replace(home.settings, max_state=int(1.5 * taken))
    reading.read(home, second.id)
    words = f"To make room, the saved state of “ONE” ({size(taken)}) was removed: its text and"
    assert words in Shown(shelf.listing(home, worker, "")).text
    with home.database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE evictions SET evicted_at = evicted_at - {shelf.TOLD_SECONDS + 1}")
    assert "To make room" not in Shown(shelf.listing(home, worker, "")).text
    reading.read(home, first.id)
    assert "“TWO”" in Shown(shelf.listing(home, worker, "")).text


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
