"""The values that pass between the readers, and what comes out in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being read): pages of a single PDF, files of a collection. It may raise to stop."""

MEGABYTE = 1_000_000
TEXT_LIMIT = 10 * MEGABYTE
"""Bytes of one text file: about twice what a million tokens hold."""
PDF_LIMIT = 200 * MEGABYTE
"""Bytes of one PDF."""
FILE_LIMIT = 10_000
"""Files of a folder or an archive."""
DEPTH_LIMIT = 20
"""Folders inside folders."""


class Unreadable(Exception):
    """Why one file cannot be read, without its name: an error for a file given alone, a skip inside a collection."""


@dataclass(frozen=True)
class Part:
    """Characters `char_start` to `char_end` of the text come from `path`, from its page `page` (1-based) if it has any.

    `line_start` is the 1-based line, in that file or page, of the part's first character. It is 0 where the part opens
    with a header line of ours, so that the line after it is line 1. Parts follow each other without a gap.
    """

    char_start: int
    char_end: int
    path: str
    page: int | None
    line_start: int


@dataclass(frozen=True)
class Skip:
    """Something of the source that the text does not hold as it is there, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class FileText:
    """What a reader made of one file.

    `pages` has one text per page, or a single text if the kind has none (`paged` false). `skipped` says what could not
    be read, `notes` how the rest was read.
    """

    kind: str
    pages: tuple[str, ...]
    paged: bool = False
    title: str | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceFile:
    """One file to read: its name in the document, its size, and `read(n)`, which gives its first n bytes or fewer."""

    path: str
    size: int
    read: Callable[[int], bytes]


@dataclass(frozen=True)
class Extracted:
    """A document: one text, where each part of it came from, and an account of what was left out or guessed.

    `kind` is text, markdown, code, pdf or collection; `pages` counts the pages of PDFs (None without any); `notes` are
    (path, note) pairs such as ("letter.txt", "read as windows-1252 (guessed)").
    """

    title: str
    kind: str
    text: str
    parts: tuple[Part, ...]
    skipped: tuple[Skip, ...] = ()
    pages: int | None = None
    notes: tuple[tuple[str, str], ...] = ()
