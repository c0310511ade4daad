"""A PDF's pages, read in several sandboxes at once; what is wrong with each; headings, and lines that repeat."""

from __future__ import annotations

import importlib.util
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from app.extract import pdf, pdfium
from app.extract.clean import clean, replaced_note
from app.extract.headings import book_headings
from app.extract.parts import GAP, FileText, Heading, Reader, Unreadable
from app.extract.sandbox import Sandbox, Tick
from app.extract.tidy import tidy

OnPage = Callable[[int, int], None]
"""Called with pages done and in all (1 until that is known), also while waiting; it may raise to stop."""

_GARBLED = re.compile("\\(cid:\\d+\\)|[\ufffd\ue000-\uf8ff]")
"""What a font without a character map leaves behind."""
_GARBLED_SHARE = 0.05
_FEW_CHARACTERS = 10
_WORTH_A_PROCESS = 24
"""Pages that take pypdf about as long as starting another process."""


def read_pdf(data: bytes, sandboxes: Sequence[Sandbox], on_page: OnPage | None = None) -> FileText:
    """The text of every page. Raises `Unreadable` if the file is broken, needs a password, or has no text at all."""
    if not data:
        raise Unreadable("the file is empty")
    parser = _parser()
    done, total = 0, 1
    tick: Tick | None = (lambda: on_page(done, total)) if on_page else None
    [facts] = sandboxes[0].call(parser.survey, data, tick=tick)
    total = facts["pages"]
    texts, complaints, replaced = [""] * total, list(facts["complaints"]), 0
    any_image = False
    found: dict[int, str] = {}
    for number, text, image, trouble, complained in _read_pages(parser, data, total, sandboxes, tick):
        texts[number - 1], count = clean(text)
        replaced += count
        any_image |= image
        complaints += complained
        if trouble := trouble or page_trouble(texts[number - 1], image):
            found[number] = trouble
        done += 1
        if on_page:
            on_page(done, total)
    skipped = [f"page {number}: {found[number]}" for number in sorted(found)]
    if not any(_visible(text) for text in texts):
        where = f"no text in any of its {total} pages" if total != 1 else "no text on its only page"
        raise Unreadable(f"{where}: it looks scanned; run OCR first" if any_image else skipped[0])
    notes = [replaced_note(replaced)] if replaced else []
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
    parser: ModuleType, data: bytes, total: int, sandboxes: Sequence[Sandbox], tick: Tick | None
) -> Iterator[Any]:
    """What `parser.pages` says of every page, in no order; of a page that its sandbox did not survive, why."""
    shares = min(len(sandboxes), 1 + total // _WORTH_A_PROCESS)
    results: queue.Queue[Any] = queue.Queue()
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise InterruptedError

    def read_share(sandbox: Sandbox, numbers: list[int]) -> None:
        while numbers and not stopped.is_set():
            try:
                for page in sandbox.call(parser.pages, data, numbers, tick=check):
                    results.put(page)
                    numbers = numbers[1:]
            except Unreadable as reason:
                results.put((numbers[0], "", False, f"could not be read ({reason})", []))
                numbers = numbers[1:]
            except InterruptedError:
                return
            except BaseException as error:  # a fault of ours: raised where the pages are waited for
                results.put(error)
                return

    threads = [
        threading.Thread(target=read_share, args=(sandboxes[n], list(range(n + 1, total + 1, shares))), daemon=True)
        for n in range(shares)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(total):
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
        return book_headings(GAP.join(pages))
    return tuple(
        Heading(level, title, starts[page] + max(0, pages[page].casefold().find(title.casefold())))
        for level, title, page in bookmarks
        if page < len(pages)
    )


def _in_worker(data: bytes, path: str) -> FileText:
    raise NotImplementedError("PDFs are read page by page: see `read_pdf`")


READER = Reader("pdf", frozenset({".pdf"}), _in_worker, lambda head: b"%PDF-" in head[:1024])
