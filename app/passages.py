"""Where in the sources a stretch of the text came from, and the text cut into passages without loss."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol


@dataclass(frozen=True)
class Place:
    """Where characters `char_start` to `char_end` of the text stand: file, page (1-based, if any) and lines (1-based).

    Lines count within the page, or within the file if it has no pages. A stretch that runs on into another page or
    file is placed where it begins; its `line_end` is then the last line there. `chapter` is the heading above it.
    """

    path: str
    page: int | None
    line_start: int
    line_end: int
    char_start: int
    char_end: int
    chapter: str | None = None


@dataclass(frozen=True)
class Passage:
    """A stretch of the text."""

    char_start: int
    char_end: int

    @property
    def length(self) -> int:
        """How many characters it has."""
        return self.char_end - self.char_start


class Segment(Protocol):
    """What a place is found by: a part of `app.extract`, or the row of it that storage gives back."""

    @property
    def char_start(self) -> int: ...
    @property
    def char_end(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def page(self) -> int | None: ...
    @property
    def line_start(self) -> int: ...


class Heading(Protocol):
    """What a chapter is found by, from `app.extract` or storage."""

    @property
    def title(self) -> str: ...
    @property
    def char_start(self) -> int: ...


class Places:
    """Finds the place of any stretch of one text."""

    def __init__(self, text: str, segments: Sequence[Segment], outline: Sequence[Heading] = ()) -> None:
        """`segments` follow each other in the text, at least one; so do the headings of the `outline`."""
        if not segments:
            raise ValueError("a text without segments has no places")
        self.text = text
        self._segments = sorted((s for s in segments if s.char_end > s.char_start), key=lambda s: s.char_start)
        self._segments = self._segments or list(segments[:1])
        self._starts = [segment.char_start for segment in self._segments]
        self._outline = sorted(outline, key=lambda heading: heading.char_start)
        self._headings = [heading.char_start for heading in self._outline]

    def words(self, passage: Passage) -> str:
        """The characters of a passage."""
        return self.text[passage.char_start : passage.char_end]

    @property
    def files(self) -> list[tuple[str, int, int]]:
        """Each file of the text with where it begins and ends, in order."""
        found: list[tuple[str, int, int]] = []
        for segment in self._segments:
            start = segment.char_start
            if found and found[-1][0] == segment.path:
                start = found.pop()[1]
            found.append((segment.path, start, segment.char_end))
        return found

    def locate(self, char_start: int, char_end: int) -> Place:
        """The place of characters `char_start` to `char_end`. Raises ValueError outside the text."""
        if not 0 <= char_start <= char_end <= len(self.text):
            raise ValueError(f"characters {char_start} to {char_end} are not in a text of {len(self.text)}")
        segment = self._segments[max(0, bisect_right(self._starts, char_start) - 1)]
        line_start = segment.line_start + self.text.count("\n", segment.char_start, char_start)
        last = max(char_start, min(char_end, segment.char_end) - 1)  # a closing newline belongs to the line it ends
        line_end = line_start + self.text.count("\n", char_start, last)
        # A header line of ours is line 0 of its file; its place is the file's first line.
        above = bisect_right(self._headings, char_start) - 1
        title = self._outline[above].title if above >= 0 else None
        chapter = title if title != segment.path else None  # a file is no chapter
        return Place(segment.path, segment.page, max(1, line_start), max(1, line_end), char_start, char_end, chapter)


def split(text: str, size: int = 1_000) -> list[Passage]:
    """Cut the text into passages of at most `size` characters, at blank lines, lines or words where it can.

    The passages follow each other without a gap: joined, they are the text.
    """
    from langchain_text_splitters import RecursiveCharacterTextSplitter  # long to import, and a question needs none

    splitter = RecursiveCharacterTextSplitter(
        chunk_size=size, chunk_overlap=0, strip_whitespace=False, keep_separator="start"
    )
    passages: list[Passage] = []
    for start, end, solid in _stretches(text, max(1, size // 2)):
        lengths = [end - start] if solid else [len(piece) for piece in splitter.split_text(text[start:end])]
        for length in lengths:
            passages.append(Passage(start, start + length))
            start += length
    return passages


def _stretches(text: str, longest: int) -> Iterator[tuple[int, int, bool]]:
    """The text as (start, end, solid): words or blanks longer than `longest` are cut into solid stretches of that size.

    The splitter goes through such runs character by character, which takes seconds for a few megabytes.
    """
    end = 0
    for run in re.finditer(rf"\S{{{longest + 1},}}|\s{{{longest + 1},}}", text):
        if run.start() > end:
            yield end, run.start(), False
        cuts = [*range(run.start(), run.end(), longest), run.end()]
        yield from ((a, b, True) for a, b in pairwise(cuts))
        end = run.end()
    if end < len(text):
        yield end, len(text), False
