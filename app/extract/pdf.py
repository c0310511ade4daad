"""PDF, with pypdf: a text per page, and a word about each page whose text is missing or garbled.

These functions run in a sandbox; `pages.py` calls them for many pages at once.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

from pypdf import PageObject, PasswordType, PdfReader
from pypdf.errors import PyPdfError
from pypdf.generic import Destination, DictionaryObject, PdfObject

from app.extract.clean import clean
from app.extract.columns import Piece, in_columns, merged
from app.extract.parts import MEGABYTE, Unreadable

PAGE_LIMIT = 20_000
PAGE_CHARACTERS = 2 * MEGABYTE
"""Characters of one page; no page that anyone reads has a hundredth of it."""
_MOST_PIECES = 5_000
_WIDTH = 0.45
"""Of a letter, in print, by the height of its line."""
_DEEPEST = 12
_MOST_BOOKMARKS = 5_000

DAMAGED = "it is broken or cut short: get a whole copy of it"
LOCKED = "it is encrypted: save a copy without the password and read that"


def survey(data: bytes) -> Iterator[dict[str, Any]]:
    """Once: how many pages there are, the title, the bookmarks as (level, words, page from 0), and the complaints.

    Raises `Unreadable` if the file is broken or needs a password.
    """
    reader, complaints = _open(data)
    yield {
        "pages": len(reader.pages), "title": told_title(_title(reader)), "bookmarks": _bookmarks(reader),
        "complaints": list(complaints),
    }


def pages(data: bytes, numbers: Sequence[int]) -> Iterator[tuple[int, str, bool, str | None, list[str]]]:
    """For each page number (from 1): the number, the text, whether it shows an image, why it could not be read, if so,
    and what pypdf complained of.
    """
    reader, complaints = _open(data)
    for number in numbers:
        complaints.clear()
        text, image, trouble = _read_page(reader, number)
        yield number, text[:PAGE_CHARACTERS], image, trouble or too_long(text), list(complaints)


def too_long(text: str) -> str | None:
    """What to say of a page that is cut, or None."""
    return f"only the first {PAGE_CHARACTERS:,} of {len(text):,} characters" if len(text) > PAGE_CHARACTERS else None


@lru_cache(maxsize=1)
def _open(data: bytes) -> tuple[PdfReader, list[str]]:
    """A reader that has found its pages and needs no password, and the list that its complaints are added to."""
    # Damaged files make pypdf fail in any way (KeyError, RecursionError, …), so every failure here means damage.
    complaints = _listen()
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
            raise Unreadable(LOCKED)
        if not 0 < len(reader.pages) <= PAGE_LIMIT:
            raise Unreadable("it has no pages" if not len(reader.pages) else f"it has more than {PAGE_LIMIT:,} pages")
    except (Unreadable, MemoryError):
        raise
    except Exception as error:
        raise Unreadable(f"{DAMAGED} ({one_line(error)})") from error
    return reader, complaints


def _read_page(reader: PdfReader, number: int) -> tuple[str, bool, str | None]:
    """The text of page `number` (1-based), whether it shows an image, and why it could not be read, if so."""
    try:
        page = reader.pages[number - 1]
        pieces: list[Piece] = []
        text = page.extract_text(visitor_text=partial(_add_piece, pieces))
        return in_columns(merged(pieces)) or text, _has_image(page), None
    except MemoryError:
        raise
    except Exception as error:  # one damaged page, failing in any way, must not lose the others; it is reported
        return "", False, f"could not be read ({one_line(error)})"


def _add_piece(pieces: list[Piece], text: str, page: list[float], line: list[float], _font: Any, size: float) -> None:
    """What pypdf calls with each stretch of text and where it is drawn; its width is not known, only guessed."""
    if not text.strip() or len(pieces) >= _MOST_PIECES:
        return
    x = line[4] * page[0] + line[5] * page[2] + page[4]
    y = line[4] * page[1] + line[5] * page[3] + page[5]
    height = abs(size * line[3] * page[3]) or 1.0
    pieces.append(Piece(x, y, x + len(text.strip()) * height * _WIDTH, y + height, text.strip("\n")))


def _has_image(page: PageObject) -> bool:
    """Whether the page's own resources name an image."""
    objects = _dictionary(_dictionary(page.get("/Resources")).get("/XObject"))
    return any(_dictionary(each).get("/Subtype") == "/Image" for each in objects.values())


def _dictionary(value: object) -> DictionaryObject:
    """What a reference leads to if that is a dictionary, else an empty one."""
    found = value.get_object() if isinstance(value, PdfObject) else None
    return found if isinstance(found, DictionaryObject) else DictionaryObject()


def _title(reader: PdfReader) -> str:
    """The title in the file's own description."""
    try:
        return str((reader.metadata.title if reader.metadata else None) or "")
    except (PyPdfError, KeyError, TypeError, ValueError, AttributeError):
        return ""  # a damaged description; the title is then the file's name


def told_title(title: str) -> str | None:
    """A title if it reads like one that a person gave."""
    title = " ".join(clean(title)[0].split())
    made_by_program = re.search(r"\.\w{2,5}$|^microsoft |^untitled|^\(|^slide \d|^title$|\ufffd", title, re.IGNORECASE)
    return title if len(re.findall(r"[^\W\d_]", title)) >= 3 and not made_by_program else None


def _bookmarks(reader: PdfReader) -> list[tuple[int, str, int]]:
    """The bookmarks that lead to a page; none if they are damaged."""
    found: list[tuple[int, str, int]] = []

    def collect(entries: Sequence[Any], level: int) -> None:
        for entry in entries:
            if isinstance(entry, list) and level < _DEEPEST:
                collect(entry, level + 1)
            elif isinstance(entry, Destination) and len(found) < _MOST_BOOKMARKS:
                page = reader.get_destination_page_number(entry)
                if page is not None and page >= 0 and (title := " ".join(clean(str(entry.title))[0].split())):
                    found.append((level, title, page))

    try:
        collect(reader.outline, 1)
    except Exception as error:  # bookmarks are a convenience: damaged in any way, they are left out, and it is said
        logging.getLogger("pypdf").warning("the bookmarks are damaged (%s)", one_line(error))
    return found


def _listen() -> list[str]:
    """A list that gets whatever pypdf and fontTools would log from now on, in this process."""
    messages: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if len(messages) < 1_000:
                messages.append(one_line(record.getMessage()))

    for name in ("pypdf", "fontTools"):
        logging.getLogger(name).handlers = [Collect(logging.WARNING)]
        logging.getLogger(name).propagate = False
    return messages


def one_line(error: object) -> str:
    """A message, or an error's name and message, in one short line."""
    words = " ".join(str(error).split()) or "no reason given"
    return (f"{type(error).__name__}: {words}" if isinstance(error, Exception) else words)[:200]
