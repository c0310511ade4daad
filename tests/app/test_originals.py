"""Kept PDFs: whose they are, and their pages with the quote marked."""

import io
from pathlib import Path

import pytest
from fpdf import FPDF
from PIL import Image

from app import library, originals
from app.errors import OncereadError
from app.home import Home
from app.pageimage import YELLOW
from storage.errors import NotFound

QUOTE = "keeper on page 2 was called Maud Ellery"


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """Two pages."""
    made = FPDF()
    made.set_font("Helvetica", size=12)
    for n in (1, 2):
        made.add_page()
        keeper = f"The lighthouse of Anvers. Its keeper on page {n} was called Maud Ellery. "
        made.multi_cell(0, 6, keeper + "Wind. " * 200)
    path = tmp_path / "lighthouse.pdf"
    made.output(str(path))
    return path


def yellow(picture: bytes) -> tuple[int, int, int, int] | None:
    """Around what is marked: left, top, right, bottom."""
    image = Image.open(io.BytesIO(picture))
    data = image.convert("RGB").tobytes()
    marked = Image.new("1", image.size)
    marked.putdata([data[n : n + 3] == bytes(YELLOW) for n in range(0, len(data), 3)])
    return marked.getbbox()


def test_the_quote_is_marked_on_its_page(home: Home, pdf: Path) -> None:
    document = library.add(home, [pdf])
    assert originals.has_pages(home, document.id, "lighthouse.pdf")
    picture = originals.page_image(home, document.id, "lighthouse.pdf", 2, QUOTE)
    box = yellow(picture)
    assert box is not None
    width, height = Image.open(io.BytesIO(picture)).size
    assert box[3] < height / 8  # it stands at the page's top
    assert box[0] > width / 20
    assert yellow(originals.page_image(home, document.id, "lighthouse.pdf", 1, QUOTE + " and more")) is None
    library.remove(home, document.id)
    assert not originals.has_pages(home, document.id, "lighthouse.pdf")
    assert list((home.settings.home / "originals").iterdir()) == []


def test_what_cannot_be_drawn_is_one_line(home: Home, pdf: Path) -> None:
    document = library.add(home.of("ann"), [pdf])
    with pytest.raises(NotFound):
        originals.page_image(home.of("bob"), document.id, "lighthouse.pdf", 1, "")
    for path, page in (("lighthouse.pdf", 9), ("../../onceread.sqlite", 1), ("missing.pdf", 1)):
        with pytest.raises(OncereadError, match="cannot be drawn"):
            originals.page_image(home.of("ann"), document.id, path, page, "")
    (home.settings.home / "originals" / document.id / "lighthouse.pdf").write_bytes(b"%PDF-1.7 broken")
    with pytest.raises(OncereadError, match="its text is shown instead"):
        originals.page_image(home.of("ann"), document.id, "lighthouse.pdf", 1, "")
