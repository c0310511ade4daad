"""PDFs as they are taken in: many sandboxes, the trouble of each page, both parsers."""

import importlib.util
from collections.abc import Iterator

import pytest

from app.extract import paged
from app.extract.paged import page_trouble, read_pdf
from app.extract.parts import Unreadable
from app.extract.sandbox import Sandbox
from tests.app.test_extract_pdf import PAGES, SAMPLE, pdf


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[list[Sandbox]]:
    with Sandbox() as first, Sandbox() as second:
        yield [first, second]


@pytest.fixture(params=["pypdf", "pypdfium2"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two parsers."""
    if request.param == "pypdf":
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    return str(request.param)


@pytest.mark.usefixtures("parser")
def test_every_page_is_read_and_reported_as_it_is(sandboxes: list[Sandbox]) -> None:
    progress: list[tuple[int, int]] = []
    read = read_pdf(pdf([*PAGES], "The Whole Book"), sandboxes, lambda done, total: progress.append((done, total)))
    assert read.pages == tuple(PAGES)
    assert (read.kind, read.paged, read.title, read.skipped, read.notes) == ("pdf", True, "The Whole Book", (), ())
    assert [(done, total) for done, total in progress if done] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.usefixtures("parser")
def test_pages_without_text_are_skips(sandboxes: list[Sandbox]) -> None:
    read = read_pdf(pdf([PAGES[0], None, "", PAGES[2]]), sandboxes)
    assert read.pages == (PAGES[0], "", "", PAGES[2])
    assert read.skipped == ("page 2: no text (an image?)", "page 3: no text (a blank page?)")


@pytest.mark.usefixtures("parser")
def test_a_scan_says_what_to_do(sandboxes: list[Sandbox]) -> None:
    with pytest.raises(Unreadable, match=r"^no text in any of its 12 pages: it looks scanned; OCR can read it"):
        read_pdf(pdf([None] * 12), sandboxes)
    with pytest.raises(Unreadable, match="blank page"):
        read_pdf(pdf([""]), sandboxes)


@pytest.mark.usefixtures("parser")
def test_many_pages_keep_their_order(sandboxes: list[Sandbox]) -> None:
    texts = [f"Words of their own on page {n}, {'again ' * (n % 7)}and no more" for n in range(70)]
    read = read_pdf(pdf([*texts]), sandboxes)
    assert [" ".join(page.split()) for page in read.pages] == texts


def test_a_damaged_page_does_not_lose_the_others(sandboxes: list[Sandbox], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    read = read_pdf(SAMPLE.replace(b"/FlateDecode", b"/FlateDecodX", 1), sandboxes)
    assert read.pages == ("", *PAGES[1:])
    assert read.skipped == ("page 1: could not be read (NotImplementedError: Unsupported filter /FlateDecodX)",)
    noted = read_pdf(SAMPLE[:-3], sandboxes).notes
    assert noted[0].startswith("pypdf had ")


def test_no_bytes(sandboxes: list[Sandbox]) -> None:
    with pytest.raises(Unreadable, match="the file is empty"):
        read_pdf(b"", sandboxes)


def test_listening_may_stop_the_reading(sandboxes: list[Sandbox]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_pdf(pdf(["words"] * 60), sandboxes, stop)
    assert read_pdf(SAMPLE, sandboxes).pages == tuple(PAGES)


def test_a_file_without_end_is_read_as_far_as_its_limits_go(
    sandboxes: list[Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paged, "_MOST_SECONDS", 0.0)
    read = read_pdf(pdf(["words"] * 60), sandboxes)
    assert len(read.pages) == 60
    assert 1 <= sum(page == "words" for page in read.pages) < 60
    assert "the pages before it took 0 minutes" in read.skipped[-1]
    monkeypatch.undo()
    monkeypatch.setattr(paged, "_MOST_CHARACTERS", 12)
    read = read_pdf(pdf(["words"] * 3), sandboxes)
    assert read.pages == ("words", "words", "")
    assert read.skipped == ("page 3: not read: the file has over 12 characters",)


def test_trouble_on_a_page() -> None:
    assert page_trouble("Chapter 1", image=False) is None
    assert page_trouble("12", image=True) == "almost no text (2 characters, and an image)"
    garbled = page_trouble("\ue001\ue002\ufffd words here (cid:12)", image=False)
    assert garbled == "garbled text (11 of 20 characters; a font without a character map?)"
