"""Taking documents in: nothing of an upload stays behind, and every error is said."""

import io
from pathlib import Path

import pytest
from fpdf import FPDF
from PIL import Image, ImageDraw, ImageFont

from app import library, portable
from app.errors import OncereadError, SourceError
from app.home import Home
from storage.errors import NotFound
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


def test_pasted_texts_of_one_title_are_versions_and_others_are_not(home: Home) -> None:
    for title, text in (("Notes", "one"), ("", "two"), ("", "three"), ("Notes", "one and more")):
        done(intake.pasted(home, title, text))
    newest, *others = home.documents.list()
    earlier = library.earlier_version(home, newest)
    assert earlier is not None
    assert earlier.document == others[-1].id
    assert [library.earlier_version(home, each) for each in others] == [None] * 3


def test_what_is_there_already_is_said_to_be(home: Home, tmp_path: Path) -> None:
    for n in range(2):
        (tmp_path / str(n)).mkdir()
        taking = done(intake.files(home, [uploaded(tmp_path / str(n), "a.txt", "The bees of Anvers")]))
        assert taking.told == ["“a” is in the library already: nothing was added."] * n
    assert len(home.documents.list()) == 1


def test_what_was_exported_comes_in(home: Home, tmp_path: Path) -> None:
    (document,) = done(intake.pasted(home, "Bees", "The bees of Anvers")).documents
    home.conversations.start(document.id, "Who?")
    folder = tmp_path / "upload"
    folder.mkdir()
    portable.export(home, document.id, folder / "Bees.onceread")
    library.remove(home, document.id)
    taking = done(intake.files(home, [str(folder / "Bees.onceread"), uploaded(tmp_path, "b.txt", "Other")]))
    assert {each.title for each in taking.documents} == {"Bees", "b"}
    assert taking.told[0].startswith("“Bees” came in with 1 conversation and no saved state")
    broken = done(intake.files(home, [uploaded(tmp_path, "x.onceread", "no zip")]))
    assert not broken.documents
    assert len(broken.errors) == 1


def test_a_scan_is_held_and_read_by_ocr_when_asked(home: Home, tmp_path: Path) -> None:
    (tmp_path / "upload").mkdir()
    path = scanned(tmp_path / "upload" / "mill.pdf", "The scanned mill by the river")
    taking = done(intake.files(home, [str(path)]))
    assert taking.errors == ["mill.pdf: no text on its only page: it looks scanned; OCR can read it."]
    assert taking.scans is not None
    (document,) = done(intake.by_ocr(home, taking.scans, "", "eng")).documents
    assert home.documents.text(document.id) == "The scanned mill by the river"
    assert list(home.settings.home.glob("scan-*")) == []
    with pytest.raises(NotFound):
        intake.by_ocr(home, None, "ffff", "eng")


def test_scanned_pages_of_a_document_are_read_from_its_file(home: Home, tmp_path: Path) -> None:
    (tmp_path / "upload").mkdir()
    path = scanned(tmp_path / "upload" / "mill.pdf", "The scanned mill by the river", "A page of text.")
    (partly,) = done(intake.files(home, [str(path)])).documents
    assert library.covered(partly).scanned == 1
    (whole,) = done(intake.by_ocr(home, None, partly.id, "eng")).documents
    assert "scanned mill" in home.documents.text(whole.id)
    assert "scanned mill" not in home.documents.text(partly.id)
    assert library.earlier_version(home, whole) == library.Earlier(partly.id, partly.title)


def scanned(path: Path, picture: str, text: str = "") -> Path:
    """A PDF with words in a picture, behind a page of text if there is any."""
    image = Image.new("L", (1600, 400), "white")
    ImageDraw.Draw(image).text((60, 120), picture, fill="black", font=ImageFont.load_default(100))
    out = io.BytesIO()
    image.save(out, "PNG")
    made = FPDF()
    made.set_font("helvetica", size=12)
    if text:
        made.add_page()
        made.multi_cell(0, 8, text)
    made.add_page()
    made.image(out, w=180)
    made.output(str(path))
    return path


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
