"""Scanned pages: never read by OCR unless asked, and said when they are. Needs tesseract (`.ci/run` installs it)."""

import io
import shutil
from pathlib import Path

import pytest
from fpdf import FPDF
from PIL import Image, ImageDraw, ImageFont

from app.errors import SourceError
from app.extract import Skip, extract


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Two pages: one of text, one a picture of words."""
    picture = Image.new("L", (1600, 500), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((60, 120), "The scanned mill by the river", fill="black", font=ImageFont.load_default(100))
    made = FPDF()
    made.set_font("helvetica", size=12)
    made.add_page()
    made.multi_cell(0, 8, "A page of text.")
    made.add_page()
    made.image(io.BytesIO(_png(picture)), w=180)
    made.output(str(tmp_path / "scan.pdf"))
    return tmp_path / "scan.pdf"


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def test_a_scan_is_read_when_asked_and_it_is_said(scan: Path) -> None:
    without = extract([scan])
    assert without.skipped == (Skip("scan.pdf", "page 2: no text (an image?)"),)
    read = extract([scan], ocr_language="eng")
    assert read.text == "A page of text.\n\nThe scanned mill by the river"
    assert read.skipped == ()
    assert read.notes == (("scan.pdf", "1 page read by OCR (tesseract, eng): expect wrong letters"),)
    assert read.digest != without.digest


def test_what_is_missing_is_one_line(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="does not know the language xyz"):
        extract([scan], ocr_language="eng+xyz")
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(SourceError, match="needs the program tesseract"):
        extract([scan], ocr_language="eng")
