"""Taking documents in: nothing of an upload stays behind, and every error is said."""

from pathlib import Path

import pytest

from app.errors import OncereadError, SourceError
from app.home import Home
from ui import intake
from ui.intake import Taking


def uploaded(folder: Path, name: str, text: str) -> str:
    """A file as Gradio leaves an upload: alone in a folder of its own."""
    path = folder / str(len(list(folder.iterdir()))) / name
    path.parent.mkdir()
    path.write_text(text, "utf-8")
    return str(path)


def done(taking: Taking) -> Taking:
    """Wait for the end."""
    assert taking.finished.wait(30)
    return taking


def test_uploads_are_moved_and_nothing_stays(home: Home, tmp_path: Path) -> None:
    temp = tmp_path / "gradio"
    temp.mkdir()
    files = [("notes.txt", "one"), ("notes.txt", "two"), ("more.txt", "three")]
    taking = done(intake.files(home, [uploaded(temp, name, text) for name, text in files]))
    (document,) = taking.documents
    assert {segment.path for segment in document.segments} == {"notes.txt", "notes (2).txt", "more.txt"}
    assert list(temp.iterdir()) == []
    assert list(home.settings.home.glob("upload-*")) == []


def test_a_bad_upload_leaves_nothing(home: Home, tmp_path: Path) -> None:
    path = uploaded(tmp_path, "empty.txt", "")
    taking = done(intake.files(home, [path]))
    assert "empty" in taking.errors[0]
    assert not Path(path).exists()
    assert list(home.settings.home.glob("upload-*")) == []
    assert home.documents.list() == []


def test_too_many_files_at_once(home: Home) -> None:
    with pytest.raises(SourceError, match="zip"):
        intake.files(home, ["/nowhere/x"] * (intake.MOST_FILES + 1))


def test_text_is_pasted(home: Home) -> None:
    (document,) = done(intake.pasted(home, " My  notes ", "The bees of Anvers")).documents
    assert document.title == "My notes"
    assert home.documents.text(document.id) == "The bees of Anvers"
    with pytest.raises(OncereadError, match="empty"):
        intake.pasted(home, "x", " \n")
    with pytest.raises(OncereadError, match="too many"):
        intake.pasted(home, "x", "y" * (intake.LONGEST_PASTE + 1))


def test_a_path_below_a_root(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("The bees of Anvers", "utf-8")
    with pytest.raises(OncereadError, match="ONCEREAD_ROOTS"):
        intake.from_path(home, "notes.txt")
    monkeypatch.setenv("ONCEREAD_ROOTS", str(tmp_path))
    (document,) = done(intake.from_path(home, "notes.txt")).documents
    assert document.title == "notes.txt" or document.title == "notes"


def test_a_full_library_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_DOCUMENTS", 0)
    assert "remove some first" in done(intake.pasted(home, "x", "y")).errors[0]


def test_a_fault_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Taking) -> None:
        raise OncereadError("no more")

    assert done(intake.start(broken)).errors == ["no more"]
    assert list(intake.start(broken).follow()) in ([], ["Taking in the text…"])


def test_the_sample_is_one_document_however_often(home: Home) -> None:
    assert intake.sample(home) == intake.sample(home)
