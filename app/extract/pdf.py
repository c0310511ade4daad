"""PDF, with pypdf: a text per page, and a word about each page whose text is missing or garbled."""

from __future__ import annotations

import io
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pypdf import PageObject, PasswordType, PdfReader
from pypdf.errors import PyPdfError
from pypdf.generic import DictionaryObject, PdfObject

from app.extract.clean import clean, replaced_note
from app.extract.parts import FileText, Unreadable

_GARBLED = re.compile("\\(cid:\\d+\\)|[\ufffd\ue000-\uf8ff]")
"""What a font without a character map leaves behind."""
_GARBLED_SHARE = 0.05
_FEW_CHARACTERS = 10

_DAMAGED = "it is broken or cut short: get a whole copy of it ({})"


def read_pdf(data: bytes, on_page: Callable[[int, int], None] | None = None) -> FileText:
    """The text of every page. `on_page(done, total)` is called after each.

    Raises `Unreadable` if the file is empty, broken, needs a password, or has text on none of its pages.
    """
    if not data:
        raise Unreadable("the file is empty")
    with _complaints() as complaints:
        reader = _open(data)
        total = len(reader.pages)
        pages, skipped, replaced = [], [], 0
        any_image = False
        for number in range(1, total + 1):
            text, image, trouble = _read_page(reader, number)
            text, count = clean(text)
            pages.append(text)
            replaced += count
            any_image |= image
            if trouble := trouble or page_trouble(text, image):
                skipped.append(f"page {number}: {trouble}")
            if on_page:
                on_page(number, total)
        title = _title(reader)
    if not any(_visible(page) for page in pages):
        where = f"no text in any of its {total} pages" if total != 1 else "no text on its only page"
        raise Unreadable(f"{where}: it looks scanned; run OCR first" if any_image else (skipped or [where])[0])
    notes = [replaced_note(replaced)] if replaced else []
    if complaints:
        notes.append(f"pypdf had {len(complaints)} complaint{'s' * (len(complaints) > 1)}, the first: {complaints[0]}")
    return FileText("pdf", tuple(pages), True, title, tuple(skipped), tuple(notes))


def _open(data: bytes) -> PdfReader:
    """A reader that has found its pages and needs no password."""
    # Damaged files make pypdf fail in any way (KeyError, RecursionError, …), so every failure here means damage.
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
            raise Unreadable("it is encrypted: save a copy without the password and read that")
        if not len(reader.pages):
            raise Unreadable("it has no pages")
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(_DAMAGED.format(_one_line(error))) from error
    return reader


def _read_page(reader: PdfReader, number: int) -> tuple[str, bool, str | None]:
    """The text of page `number` (1-based), whether it shows an image, and why it could not be read, if so."""
    try:
        page = reader.pages[number - 1]
        return page.extract_text(), _has_image(page), None
    except Exception as error:  # one damaged page, failing in any way, must not lose the others; it is reported
        return "", False, f"could not be read ({_one_line(error)})"


def _has_image(page: PageObject) -> bool:
    """Whether the page's own resources name an image."""
    objects = _dictionary(_dictionary(page.get("/Resources")).get("/XObject"))
    return any(_dictionary(each).get("/Subtype") == "/Image" for each in objects.values())


def _dictionary(value: object) -> DictionaryObject:
    """What a reference leads to if that is a dictionary, else an empty one."""
    found = value.get_object() if isinstance(value, PdfObject) else None
    return found if isinstance(found, DictionaryObject) else DictionaryObject()


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


def _title(reader: PdfReader) -> str | None:
    """The title in the file's own description, if it reads like one."""
    try:
        title = reader.metadata.title if reader.metadata else None
    except (PyPdfError, KeyError, TypeError, ValueError, AttributeError):
        return None  # a damaged description; the title is then the file's name
    title = " ".join(clean(str(title or ""))[0].split())
    made_by_program = re.search(r"\.\w{2,5}$|^microsoft |^untitled|^\(|^slide \d|^title$|\ufffd", title, re.IGNORECASE)
    return title if len(re.findall(r"[^\W\d_]", title)) >= 3 and not made_by_program else None


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what pypdf and fontTools would log in this thread, and keep it out of the log, inside the block only."""
    messages: list[str] = []
    thread = threading.get_ident()

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                messages.append(_one_line(record.getMessage()))

    handler = Collect(logging.WARNING)
    with _quiet_lock:
        for name in _quiet:
            logging.getLogger(name).addHandler(handler)
            _quiet[name].append(logging.getLogger(name).propagate)
            logging.getLogger(name).propagate = False
    try:
        yield messages
    finally:
        with _quiet_lock:
            for name in _quiet:
                logging.getLogger(name).removeHandler(handler)
                before = _quiet[name].pop()
                if not _quiet[name]:
                    logging.getLogger(name).propagate = before


_quiet: dict[str, list[bool]] = {"pypdf": [], "fontTools": []}
"""For each logger, what `propagate` was on entering each block still open; the first entry is the user's own."""
_quiet_lock = threading.Lock()


def _one_line(error: object) -> str:
    """A message, or an error's name and message, in one short line."""
    words = " ".join(str(error).split()) or "no reason given"
    return (f"{type(error).__name__}: {words}" if isinstance(error, Exception) else words)[:200]
