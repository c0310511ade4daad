"""Jupyter notebooks: the cells as they are read on the page, with the text of their outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from app.extract.clean import clean, replaced_note
from app.extract.headings import markdown_headings
from app.extract.parts import GAP, FileText, Heading, Reader, Unreadable
from app.extract.text import decode

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def read_notebook(data: bytes, _path: str) -> FileText:
    """The text of every cell. Raises `Unreadable` if it is no notebook or has no text."""
    text, guess = decode(data)
    try:
        book = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is no notebook ({' '.join(str(error).split())[:100]})") from error
    pieces: list[str] = []
    outline: list[Heading] = []
    at = replaced = pictures = 0
    for cell in _cells(book):
        source = _text(cell.get("source", cell.get("input")))
        kind = cell.get("cell_type")
        if kind == "code":
            number = cell.get("execution_count", cell.get("prompt_number"))
            shown = [f"In [{number if isinstance(number, int) else ' '}]:\n{source}"] if source.strip() else []
            for output in _listed(cell.get("outputs")):
                said, pictured = _output(output)
                shown += [said] if said.strip() else []
                pictures += pictured
        else:
            level = cell.get("level") if kind == "heading" else None
            shown = [f"{'#' * level} {source}" if isinstance(level, int) and 0 < level < 7 else source]
        for piece in shown:
            piece, count = clean(piece.strip("\n"))
            replaced += count
            if piece.strip():
                if kind in ("markdown", "heading"):
                    outline += [Heading(h.level, h.title, at + h.char_start) for h in markdown_headings(piece)]
                pieces.append(piece)
                at += len(piece) + len(GAP)
    if not pieces:
        raise Unreadable("the notebook has no text in it")
    title = outline[0].title if outline else None
    skipped = (f"{pictures} picture{'s' * (pictures > 1)} among the outputs not read",) if pictures else ()
    notes = tuple(note for note in (guess, replaced_note(replaced) if replaced else None) if note)
    return FileText("notebook", (GAP.join(pieces) + "\n",), False, title, tuple(outline), (), skipped, notes)


def _cells(book: Any) -> Iterator[dict[str, Any]]:
    """The cells of a notebook, of format 4 or the sheets before it."""
    if not isinstance(book, dict) or not ("cells" in book or "worksheets" in book):
        raise Unreadable("it is no notebook (it has no cells)")
    yield from _listed(book.get("cells"))
    for sheet in _listed(book.get("worksheets")):
        yield from _listed(sheet.get("cells"))


def _listed(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, if it is one."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    """A text, written whole or as a list of lines."""
    if isinstance(value, list):
        return "".join(each for each in value if isinstance(each, str))
    return value if isinstance(value, str) else ""


def _output(output: dict[str, Any]) -> tuple[str, bool]:
    """What an output shows as text, and whether it shows a picture that is not read."""
    shown = output.get("data")
    data: dict[str, Any] = shown if isinstance(shown, dict) else {}
    pictured = any(str(name).startswith("image/") for name in data) or "png" in output
    if output.get("output_type") in ("pyerr", "error"):
        lines = output.get("traceback")
        said = "\n".join(each for each in lines if isinstance(each, str)) if isinstance(lines, list) else ""
        return _COLOURS.sub("", said), False
    text = _text(data.get("text/markdown") or data.get("text/plain") or output.get("text"))
    if output.get("output_type") in ("execute_result", "pyout") and text.strip():
        number = output.get("execution_count", output.get("prompt_number"))
        text = f"Out[{number if isinstance(number, int) else ' '}]:\n{text}"
    return _COLOURS.sub("", text), pictured


READER = Reader("notebook", frozenset({".ipynb"}), read_notebook)
