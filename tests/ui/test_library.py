"""The library's cards, and taking files in."""

from pathlib import Path

import pytest

from app import library, reading
from app.errors import SourceError
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


def test_uploads_are_moved_and_nothing_stays(home: Home, tmp_path: Path) -> None:
    temp = tmp_path / "gradio"
    temp.mkdir()
    files = [("notes.txt", "one"), ("notes.txt", "two"), ("more.txt", "three")]
    paths = [uploaded(temp, name, text) for name, text in files]
    document = home.documents.get(shelf.take_in(home, [str(path) for path in paths]))
    assert {segment.path for segment in document.segments} == {"notes.txt", "notes (2).txt", "more.txt"}
    assert list(temp.iterdir()) == []
    assert list(home.settings.home.glob("upload-*")) == []


def test_a_bad_upload_leaves_nothing(home: Home, tmp_path: Path) -> None:
    path = uploaded(tmp_path, "empty.txt", "")
    with pytest.raises(SourceError):
        shelf.take_in(home, [str(path)])
    assert not path.exists()
    assert list(home.settings.home.glob("upload-*")) == []
    assert home.documents.list() == []


def test_too_many_files_at_once(home: Home) -> None:
    with pytest.raises(SourceError, match="zip"):
        shelf.take_in(home, ["x"] * (shelf.MOST_FILES + 1))


def test_the_sample_is_one_document_however_often(home: Home) -> None:
    assert shelf.take_sample(home) == shelf.take_sample(home)
    assert "Treasure Valley" in home.documents.text(shelf.take_sample(home))


def test_cards(home: Home, worker: Worker, tmp_path: Path) -> None:
    assert shelf.listing(home, worker, "") == ""
    title = "<img src=x onerror=alert(1)> & co"
    document = library.add(home, [uploaded(tmp_path, "a.txt", "Some words.")], title)
    listing = shelf.listing(home, worker, document.id)
    assert Shown(listing).text == f"Library{title}11 characters · not read yet"
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
