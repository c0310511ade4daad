"""A collection of source code: told from others, put in an order that keeps saved state useful, given an index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from app.extract.parts import FileText, SourceFile
from app.extract.text import PROGRAMS

_SHARE = 0.2
"""From this share of program files on, a collection is a codebase."""
INDEX = "index of files"


def is_codebase(files: Sequence[SourceFile]) -> bool:
    """Whether many of the files are programs. Their web pages are then sources too, not pages to be shown."""
    programs = sum(PurePosixPath(file.path).suffix.lower() in PROGRAMS for file in files)
    return programs > 0 and programs >= _SHARE * len(files)


def in_order(files: Sequence[SourceFile]) -> list[SourceFile]:
    """The files that did not change for longest first: when some change, most of what was read before stays valid."""
    return sorted(files, key=lambda file: (file.changed, file.path.split("/")))


def index_of(paths: Sequence[str]) -> FileText:
    """A list of the files, by name: their order in the text changes with their contents, this one does not."""
    listed = "\n".join(sorted(paths, key=lambda path: path.split("/")))
    return FileText("text", (f"# Files\n{listed}",))
