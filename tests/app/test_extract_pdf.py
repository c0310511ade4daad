"""Real PDFs, made here: whole, scanned, encrypted, cut short, garbled."""

import io
import logging
import threading

import pytest
from fpdf import FPDF
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfWriter

from app.extract.parts import Unreadable
from app.extract.pdf import page_trouble, read_pdf

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


def test_every_page_is_read_and_reported_as_it_is() -> None:
    progress: list[tuple[int, int]] = []
    read = read_pdf(pdf([*PAGES]), lambda done, total: progress.append((done, total)))
    assert read.pages == tuple(PAGES)
    assert (read.kind, read.paged, read.skipped, read.notes) == ("pdf", True, (), ())
    assert progress == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("given_title", "title"),
    [("The Whole Book", "The Whole Book"), ("Microsoft Word - x.doc", None), ("untitled", None), ("", None)],
)
def test_a_title_only_if_it_reads_like_one(given_title: str, title: str | None) -> None:
    assert read_pdf(pdf(["text"], given_title)).title == title


def test_pages_without_text_are_skips() -> None:
    read = read_pdf(pdf([PAGES[0], None, "", PAGES[2]]))
    assert read.pages == (PAGES[0], "", "", PAGES[2])
    assert read.skipped == ("page 2: no text (an image?)", "page 3: no text (a blank page?)")


def test_a_scan_says_what_to_do() -> None:
    with pytest.raises(Unreadable, match=r"^no text in any of its 12 pages: it looks scanned; run OCR first$"):
        read_pdf(pdf([None] * 12))
    with pytest.raises(Unreadable, match="blank page"):
        read_pdf(pdf([""]))


def test_a_password() -> None:
    with pytest.raises(Unreadable, match="encrypted: save a copy without the password"):
        read_pdf(encrypted(pdf([*PAGES]), "secret"))
    assert read_pdf(encrypted(pdf([*PAGES]), "")).pages == tuple(PAGES)  # anyone may open it


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.98])
def test_cut_short(share: float) -> None:
    data = pdf([*PAGES])
    with pytest.raises(Unreadable, match="broken or cut short"):
        read_pdf(data[: int(len(data) * share)])


def test_no_bytes_and_no_pdf() -> None:
    with pytest.raises(Unreadable, match="the file is empty"):
        read_pdf(b"")
    with pytest.raises(Unreadable, match="broken or cut short"):
        read_pdf(b"just words, named .pdf")


def test_a_damaged_page_does_not_lose_the_others() -> None:
    read = read_pdf(SAMPLE.replace(b"/FlateDecode", b"/FlateDecodX", 1))
    assert read.pages == ("", *PAGES[1:])
    assert read.skipped == ("page 1: could not be read (NotImplementedError: Unsupported filter /FlateDecodX)",)


@given(st.data())
def test_mutated_files_are_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(SAMPLE)
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=30)):
        whole[at] = value
    try:
        said = " ".join(read_pdf(bytes(whole)).skipped)
    except Unreadable as error:
        said = str(error)
    assert "\n" not in said


SAMPLE = pdf([*PAGES])


def test_trouble_on_a_page() -> None:
    assert page_trouble("Chapter 1", image=False) is None
    assert page_trouble("12", image=True) == "almost no text (2 characters, and an image)"
    garbled = page_trouble("\ue001\ue002\ufffd words here (cid:12)", image=False)
    assert garbled == "garbled text (11 of 20 characters; a font without a character map?)"


def test_complaints_are_noted_and_kept_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    read = read_pdf(SAMPLE[:-3])
    assert read.pages == tuple(PAGES)
    assert read.notes
    assert read.notes[0].startswith("pypdf had ")
    assert not caplog.records
    logging.getLogger("pypdf").warning("afterwards")
    assert [record.message for record in caplog.records] == ["afterwards"]


def test_threads_do_not_hear_each_others_complaints() -> None:
    notes: dict[int, list[tuple[str, ...]]] = {0: [], 1: []}

    def read(which: int) -> None:
        for _ in range(10):
            notes[which].append(read_pdf(SAMPLE[:-3] if which else SAMPLE).notes)

    threads = [threading.Thread(target=read, args=(which,)) for which in notes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(notes[0])
    assert all(notes[1])
    assert logging.getLogger("pypdf").propagate
