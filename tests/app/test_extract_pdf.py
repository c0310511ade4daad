"""Real PDFs, made here: whole, scanned, encrypted, cut short, garbled."""

import io

import pytest
from fpdf import FPDF
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfWriter

from app.extract import pdfium
from app.extract.parts import Unreadable
from app.extract.pdf import pages, survey, told_title

PAGES = ["The first page.\nIt has two lines.", "The second page.", "The third page ends it."]


def pdf(pages: list[str | None], title: str = "") -> bytes:
    """A PDF with one page per text; None is a page that is only an image, "" a blank one."""
    made = FPDF()
    made.set_font("helvetica", size=12)
    if title:
        made.set_title(title)
    for text in pages:
        made.add_page()
        if text is None:
            made.image(Image.new("RGB", (40, 40), "gray"), w=100)
        elif text:
            made.multi_cell(0, 8, text)
    return bytes(made.output())


def encrypted(data: bytes, password: str) -> bytes:
    writer = PdfWriter(io.BytesIO(data))
    writer.encrypt(password, "owner", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def read(data: bytes) -> list[str]:
    """Every page's text, in this process."""
    [facts] = survey(data)
    return [text for _, text, _, _, _ in pages(data, range(1, facts["pages"] + 1))]


def refused(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        read(data)
    return str(caught.value)


def test_every_page_is_read() -> None:
    assert read(pdf([*PAGES])) == PAGES


@pytest.mark.parametrize(
    ("given_title", "title"),
    [("The Whole Book", "The Whole Book"), ("Microsoft Word - x.doc", None), ("untitled", None), ("", None)],
)
def test_a_title_only_if_it_reads_like_one(given_title: str, title: str | None) -> None:
    assert told_title(given_title) == title
    [facts] = survey(pdf(["text"], given_title))
    assert facts["title"] == title


def test_images_are_seen() -> None:
    assert [image for _, _, image, _, _ in pages(pdf([PAGES[0], None, ""]), [1, 2, 3])] == [False, True, False]


def test_a_password() -> None:
    assert "encrypted: save a copy without the password" in refused(encrypted(pdf([*PAGES]), "secret"))
    assert read(encrypted(pdf([*PAGES]), "")) == PAGES  # anyone may open it


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.98])
def test_cut_short(share: float) -> None:
    data = pdf([*PAGES])
    assert "broken or cut short" in refused(data[: int(len(data) * share)])


def test_no_pdf() -> None:
    assert "broken or cut short" in refused(b"just words, named .pdf")


def test_no_pages() -> None:
    out = io.BytesIO()
    PdfWriter().write(out)
    assert refused(out.getvalue()) == "it has no pages"
    with pytest.raises(Unreadable, match=r"^it has no pages$"):
        pdfium.open_pdf(out.getvalue())
    with pytest.raises(Unreadable, match=r"get a whole copy of it$"):  # PDFium's own reason says no more
        pdfium.open_pdf(b"just words, named .pdf")


def test_a_damaged_page_does_not_lose_the_others() -> None:
    damaged = SAMPLE.replace(b"/FlateDecode", b"/FlateDecodX", 1)
    found = list(pages(damaged, [1, 2, 3]))
    assert [text for _, text, _, _, _ in found] == ["", *PAGES[1:]]
    assert found[0][3] == "could not be read (NotImplementedError: Unsupported filter /FlateDecodX)"


@given(st.data())
def test_mutated_files_are_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(SAMPLE)
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=30)):
        whole[at] = value
    try:
        said = " ".join(trouble or "" for _, _, _, trouble, _ in pages(bytes(whole), [1]))
    except Unreadable as error:
        said = str(error)
    assert "\n" not in said


SAMPLE = pdf([*PAGES])


def test_complaints_come_with_the_page_and_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    [facts] = survey(SAMPLE[:-3])
    assert facts["complaints"]
    assert not caplog.records


def test_bookmarks() -> None:
    made = FPDF()
    made.set_font("helvetica", size=12)
    for number, page in enumerate(PAGES):
        made.add_page()
        made.start_section(f"Chapter {number}", level=min(number, 1))
        made.multi_cell(0, 8, page)
    [facts] = survey(bytes(made.output()))
    assert facts["bookmarks"] == [(1, "Chapter 0", 0), (2, "Chapter 1", 1), (2, "Chapter 2", 2)]
