"""A PDF's pages, read in several sandboxes at once; what is wrong with each; headings, and lines that repeat."""

from __future__ import annotations

import importlib.util
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from app.extract import ocr, pdf, pdfium
from app.extract.clean import clean, replaced_note
from app.extract.headings import book_headings
from app.extract.parts import GAP, MEGABYTE, FileText, Heading, Reader, Scanned, Unreadable
from app.extract.sandbox import Overstepped, Sandbox, Tick
from app.extract.tidy import tidy

OnPage = Callable[[int, int], None]
"""Called with pages done and in all (1 until that is known), also while waiting; it may raise to stop."""

_GARBLED = re.compile("\\(cid:\\d+\\)|[\ufffd\ue000-\uf8ff]")
"""What a font without a character map leaves behind."""
_GARBLED_SHARE = 0.05
_FEW_CHARACTERS = 10
DRAWN = ("no text (an image", "almost no text", "garbled text")
"""The troubles that reading what is drawn may help against."""
_MOST_CHARACTERS = 200 * MEGABYTE
_MOST_SECONDS = 1_800.0
"""For one file: then what is read is kept, and the rest is reported."""
_WORTH_A_PROCESS = 24
"""Pages that take pypdf about as long as starting another process."""


def read_pdf(
    data: bytes, sandboxes: Sequence[Sandbox], on_page: OnPage | None = None, ocr_language: str | None = None
) -> FileText:
    """The text of every page; with an `ocr_language`, what is drawn on those without a sound text is read by tesseract.

    Raises `Unreadable` if the file is broken, needs a password, or has no text at all.
    """
    if not data:
        raise Unreadable("the file is empty")
    parser = _parser()
    done, total = 0, 1
    tick: Tick | None = (lambda: on_page(done, total)) if on_page else None
    [facts] = sandboxes[0].call(parser.survey, data, tick=tick)
    total = facts["pages"]
    texts, complaints, replaced = [""] * total, list(facts["complaints"]), 0
    any_image, held = False, 0
    found: dict[int, str] = {}
    numbers = range(1, total + 1)
    for number, text, image, trouble, complained in _read_pages(parser.pages, data, numbers, sandboxes, tick):
        held += len(text)
        if held > _MOST_CHARACTERS:
            text, trouble = "", f"not read: the file has over {_MOST_CHARACTERS:,} characters"
        texts[number - 1], count = clean(text)
        replaced += count
        any_image |= image
        complaints += complained
        if trouble := trouble or page_trouble(texts[number - 1], image):
            found[number] = trouble
        done += 1
        if on_page:
            on_page(done, total)
    drawn = sorted(number for number in found if found[number].startswith(DRAWN)) if ocr_language else []
    for number, text, _, trouble, _ in _read_pages(ocr.pages, data, drawn, sandboxes, tick, ocr_language):
        texts[number - 1], _ = clean(text)
        found[number] = trouble or ("OCR found no text" if not text else "")
    skipped = [f"page {number}: {found[number]}" for number in sorted(found) if found[number]]
    if not any(_visible(text) for text in texts):
        where = f"no text in any of its {total} pages" if total != 1 else "no text on its only page"
        if any_image and not ocr_language:
            raise Scanned(f"{where}: it looks scanned; OCR can read it")
        raise Unreadable(skipped[0])
    by_ocr = sum(not found[number] for number in drawn)
    notes = [replaced_note(replaced)] if replaced else []
    if by_ocr:
        notes.append(f"{by_ocr} page{'s' * (by_ocr > 1)} read by OCR (tesseract, {ocr_language}): expect wrong letters")
    if complaints:
        notes.append(f"pypdf had {len(complaints)} complaint{'s' * (len(complaints) > 1)}, the first: {complaints[0]}")
    tidied = tidy(texts)
    outline = _outline(tidied.pages, facts["bookmarks"])
    return FileText(
        "pdf", tidied.pages, True, facts["title"], outline, tidied.line_starts, tuple(skipped), (*notes, *tidied.notes)
    )


def _parser() -> ModuleType:
    """pypdfium2 where it is installed, else pypdf."""
    return pdfium if importlib.util.find_spec("pypdfium2") else pdf


def _read_pages(
    pages: Callable[..., Iterator[Any]],
    data: bytes,
    wanted: Sequence[int],
    sandboxes: Sequence[Sandbox],
    tick: Tick | None,
    *arguments: Any,
) -> Iterator[Any]:
    """What `pages` says of every page wanted, in no order; of a page that its sandbox did not survive, why."""
    shares = min(len(sandboxes), len(wanted), 1 + len(wanted) // _WORTH_A_PROCESS)
    results: queue.Queue[Any] = queue.Queue()
    stopped = threading.Event()
    until = time.monotonic() + _MOST_SECONDS

    def check() -> None:
        if stopped.is_set():
            raise InterruptedError

    def read_share(sandbox: Sandbox, numbers: list[int]) -> None:
        while numbers and not stopped.is_set():
            try:
                for page in sandbox.call(pages, data, numbers, *arguments, tick=check):
                    results.put(page)
                    numbers = numbers[1:]
                    if time.monotonic() > until:
                        raise Overstepped(f"the pages before it took {_MOST_SECONDS / 60:.0f} minutes")
            except Unreadable as reason:
                lost = 1 if time.monotonic() < until else len(numbers)
                for number in numbers[:lost]:
                    results.put((number, "", False, f"could not be read ({reason})", []))
                numbers = numbers[lost:]
            except InterruptedError:
                return
            except BaseException as error:  # a fault of ours: raised where the pages are waited for
                results.put(error)
                return

    threads = [
        threading.Thread(target=read_share, args=(sandboxes[n], list(wanted[n::shares])), daemon=True)
        for n in range(shares)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in wanted:
            yield _next(results, tick)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def _next(results: queue.Queue[Any], tick: Tick | None) -> Any:
    """The next result, however long it takes; `tick` is called while waiting."""
    while True:
        try:
            result = results.get(timeout=0.2)
        except queue.Empty:
            if tick:
                tick()
            continue
        if isinstance(result, BaseException):
            raise result
        return result


def page_trouble(text: str, image: bool) -> str | None:
    """What is wrong with a page's text, or None. `image`: whether the page shows one."""
    visible = _visible(text)
    if not visible:
        return "no text (an image?)" if image else "no text (a blank page?)"
    if image and visible < _FEW_CHARACTERS:
        return f"almost no text ({visible} characters, and an image)"
    garbled = sum(len(match[0]) for match in _GARBLED.finditer(text))
    if garbled > visible * _GARBLED_SHARE:
        return f"garbled text ({garbled} of {visible} characters; a font without a character map?)"
    return None


def _visible(text: str) -> int:
    """How many characters are no white space."""
    return sum(map(len, text.split()))


def _outline(pages: Sequence[str], bookmarks: Sequence[tuple[int, str, int]]) -> tuple[Heading, ...]:
    """The bookmarks, each where its words stand on its page (else where the page begins); without any, the chapters."""
    starts, at = [], 0
    for page in pages:
        starts.append(at)
        at += len(page) + len(GAP)
    if not bookmarks:
        return book_headings(GAP.join(pages), printed=True)
    return tuple(
        Heading(level, title, starts[page] + max(0, pages[page].casefold().find(title.casefold())))
        for level, title, page in bookmarks
        if page < len(pages)
    )


READER = Reader("pdf", frozenset({".pdf"}), None, lambda head: b"%PDF-" in head[:1024])
