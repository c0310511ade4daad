"""The coverage report on the page."""

from pathlib import Path

import pytest

from app import library, reading
from app.extract import ocr
from app.home import Home
from app.library import DocumentInfo
from storage.documents import Segment, SkippedPart
from tests.ui.test_intake import scanned
from tests.ui.test_markup import Shown
from ui import coverage


def kept(home: Home, *skipped: tuple[str, str], pages: int | None = None) -> DocumentInfo:
    """A document that left something out."""
    parts = [SkippedPart(*each) for each in skipped]
    return library.info(home, home.documents.add("T", "pdf", "words", [Segment(0, 0, 5, "a", None, 1)], parts, pages))


def test_what_is_missing_is_grouped_and_open_until_it_is_read(home: Home) -> None:
    pages = [("a", f"page {n}: no text (a blank page?)") for n in (2, 3, 7)]
    html = coverage.panel(home, kept(home, *pages, ("b.txt", "note: read as windows-1252 (guessed)"), pages=9))
    shown = Shown(html)
    assert "Coverage · 3 pages not or not rightly read · 1 note" in shown.text
    assert "3 × no text (a blank page?): pages 2–3, 7" in shown.text
    assert "1 file read as windows-1252 (guessed)" in shown.text
    assert 'class="or-coverage" open>' in html
    assert "OCR" not in shown.text


def test_nothing_missing_is_said_and_folded(home: Home) -> None:
    html = coverage.panel(home, kept(home))
    assert "Coverage · nothing left out" in Shown(html).text
    assert " open" not in html


def test_ocr_is_offered_where_it_can_be_done(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = library.add(home, [scanned(tmp_path / "mill.pdf", "The scanned mill", "A page of text.")])
    html = coverage.panel(home, library.info(home, document))
    assert f'data-do="ocr" data-item="{document.id}"' in html
    assert "eng" in html
    elsewhere = kept(home, ("a", "page 2: no text (an image?)"), pages=2)
    assert "add the PDF by itself" in coverage.panel(home, elsewhere)
    monkeypatch.setattr(ocr.shutil, "which", lambda _name: None)
    assert "pip install" in coverage.panel(home, library.info(home, document))
    reading.read(home, document.id)
    assert " open" not in coverage.panel(home, library.info(home, document))
