"""PDF, with pypdfium2: the same as `pdf.py` in a small part of the time, where `onceread[fast]` is installed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ctypes import byref, c_double
from dataclasses import replace
from functools import lru_cache
from typing import Any

from app.extract.clean import clean
from app.extract.columns import Box, Piece, in_columns, may_have_columns, merged
from app.extract.parts import Unreadable
from app.extract.pdf import DAMAGED, LOCKED, PAGE_CHARACTERS, PAGE_LIMIT, one_line, told_title, too_long

_MOST_PIECES = 5_000
_SAMPLE = 200
"""Boxes in the middle of a page from which it is judged: words of a justified page, lines of others."""
_HYPHEN = re.compile("[\x02\ufffe](?:\r?\n)?")
"""How PDFium writes a hyphen that ends a line."""


def survey(data: bytes) -> Iterator[dict[str, Any]]:
    """As `pdf.survey`."""
    document = open_pdf(data)
    bookmarks = []
    for entry in document.get_toc(max_depth=12):
        target = entry.get_dest()
        page = target.get_index() if target else None
        if page is not None and page >= 0 and (title := " ".join(clean(entry.get_title() or "")[0].split())):
            bookmarks.append((entry.level + 1, title, page))
    title = document.get_metadata_value("Title")
    yield {"pages": len(document), "title": told_title(title), "bookmarks": bookmarks[:5_000], "complaints": []}


def pages(data: bytes, numbers: Sequence[int]) -> Iterator[tuple[int, str, bool, str | None, list[str]]]:
    """As `pdf.pages`; PDFium complains of nothing."""
    from pypdfium2 import PdfiumError
    document = open_pdf(data)
    for number in numbers:
        try:
            page = document[number - 1]
            shown = page.get_textpage()
            text = _in_columns(shown) or _lines(shown.get_text_range())
            image = _has_image(page)
            shown.close()
            page.close()
        except PdfiumError as error:
            yield number, "", False, f"could not be read ({one_line(error)})", []
        else:
            yield number, text[:PAGE_CHARACTERS], image, too_long(text), []


def _in_columns(shown: Any) -> str | None:
    """The page's text by columns, if its own order is wrong. The text of a box is slow to get: it is asked for last."""
    count = shown.count_rects()
    middle = max(0, count // 2 - _SAMPLE // 2)
    if count > _MOST_PIECES or not may_have_columns(_boxes(shown, range(middle, min(count, middle + _SAMPLE)))):
        return None
    lines = merged([Piece(left, bottom, right, top, "x") for left, bottom, right, top in _boxes(shown, range(count))])
    if in_columns(lines) is None:
        return None
    texts = [shown.get_text_bounded(line.left, line.bottom, line.right, line.top) for line in lines]
    return in_columns([replace(line, text=_lines(text)) for line, text in zip(lines, texts, strict=True)])


def _boxes(shown: Any, numbers: range) -> list[Box]:
    """Some boxes of a page's stretches of text, in its own order. (`shown.get_rect` takes several times as long.)"""
    from pypdfium2 import raw

    left, bottom, right, top = (c_double() for _ in range(4))
    places = [byref(each) for each in (left, top, right, bottom)]
    boxes = []
    for n in numbers:
        raw.FPDFText_GetRect(shown.raw, n, *places)
        boxes.append((left.value, bottom.value, right.value, top.value))
    return boxes


def _has_image(page: Any) -> bool:
    """Whether an image is among the page's own objects. (`page.get_objects` takes six times as long for this.)"""
    from pypdfium2 import raw

    objects = (raw.FPDFPage_GetObject(page.raw, n) for n in range(raw.FPDFPage_CountObjects(page.raw)))
    return any(raw.FPDFPageObj_GetType(each) == raw.FPDF_PAGEOBJ_IMAGE for each in objects)


def _lines(text: str) -> str:
    """PDFium's text with its hyphens and line ends as others write them."""
    return _HYPHEN.sub("-\n", text).replace("\r\n", "\n").rstrip("\n")


@lru_cache(maxsize=1)
def open_pdf(data: bytes) -> Any:
    """A document of pypdfium2. Raises `Unreadable` if it is broken or needs a password."""
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        document = PdfDocument(data)
        count = len(document)
    except PdfiumError as error:
        if "password" in str(error).lower():
            raise Unreadable(LOCKED) from error
        empty = "success" in str(error).lower()  # as PDFium puts it: nothing is wrong but that there is no page
        raise Unreadable("it has no pages" if empty else DAMAGED) from error
    if not 0 < count <= PAGE_LIMIT:
        raise Unreadable("it has no pages" if not count else f"it has more than {PAGE_LIMIT:,} pages")
    return document
