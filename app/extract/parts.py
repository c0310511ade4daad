"""The values that pass between the readers, and what comes out in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being read): pages of a single PDF, files of a collection. It may raise to stop."""

MEGABYTE = 1_000_000
TEXT_LIMIT = 10 * MEGABYTE
"""Bytes of one text file: about twice what a million tokens hold."""
FORMAT_LIMIT = 200 * MEGABYTE
"""Bytes of one file of a kind that packs its text among pictures and fonts."""
GAP = "\n\n"
"""Stands between two pages of one file, and after each file of a collection."""
FILE_LIMIT = 10_000
"""Files of a folder or an archive."""
DEPTH_LIMIT = 20
"""Folders inside folders."""


class Unreadable(Exception):
    """Why one file cannot be read, without its name: an error for a file given alone, a skip inside a collection."""


class Scanned(Unreadable):
    """The file's pages are pictures, and OCR could read them."""


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
class Heading:
    """A heading of the outline: its depth (1 is the highest), its words, and where in the text it begins."""

    level: int
    title: str
    char_start: int


@dataclass(frozen=True)
class FileText:
    """What a reader made of one file.

    `pages` has one text per page, or a single text if the kind has none (`paged` false). `outline` counts characters in
    the pages joined by `GAP`. `line_starts` has the line of each page on which its text begins (none: the first).
    `skipped` says what could not be read, `notes` how the rest was read.
    """

    kind: str
    pages: tuple[str, ...]
    paged: bool = False
    title: str | None = None
    outline: tuple[Heading, ...] = ()
    line_starts: tuple[int, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _never(_head: bytes) -> bool:
    return False


@dataclass(frozen=True)
class Reader:
    """One kind of file: which files are of it, and what reads them.

    A module of `app.extract` that has one named READER adds the kind. `endings` are those of its names, in small
    letters; `begins` looks at a file's first bytes, whatever its name. `read(data, path)` gives the text or raises
    `Unreadable`; it runs in a process of its own (`sandbox`) if `sandboxed`, as every parser of a format must that is
    more than plain text. It is None for PDF, which `paged` reads page by page. Files over `limit` bytes are refused.
    """

    kind: str
    endings: frozenset[str]
    read: Callable[[bytes, str], FileText] | None
    begins: Callable[[bytes], bool] = _never
    sandboxed: bool = True
    limit: int = FORMAT_LIMIT


@dataclass(frozen=True)
class SourceFile:
    """One file to read: its name in the document, its size, `read(n)`, which gives its first n bytes or fewer, and when
    it last changed (seconds since 1970).
    """

    path: str
    size: int
    read: Callable[[int], bytes]
    changed: float = 0.0


@dataclass(frozen=True)
class Extracted:
    """A document: one text, where each part of it came from, and an account of what was left out or guessed.

    `kind` is a reader's (text, markdown, code, pdf, …) or collection; `pages` counts the pages of PDFs (None without
    any); `notes` are (path, note) pairs such as ("letter.txt", "read as windows-1252 (guessed)"). `origin` names what
    it was made from, by which a new version of it is known; `digest` is the hash of all bytes read.
    """

    title: str
    kind: str
    text: str
    parts: tuple[Part, ...]
    skipped: tuple[Skip, ...] = ()
    pages: int | None = None
    notes: tuple[tuple[str, str], ...] = ()
    outline: tuple[Heading, ...] = ()
    origin: str = ""
    digest: str = ""
