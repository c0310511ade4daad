"""What a reader of pages passes over: running heads and feet, page numbers, words broken at a line's end, ligatures.

Lines keep their numbers: a head that is left out moves the first line's number on, and the rest of a broken word is
drawn up to the line that it began on, the line's end then standing behind it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

_EDGE = 2
"""Lines at the top and bottom of a page that may be running heads and feet."""
_NEAR = 4
"""Pages to either side on which a running head is looked for."""
_FEWEST = 3
"""Of those pages and the page itself, how many must have it."""
_LONGEST = 150
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_BROKEN = re.compile(r"(?<=[^\W\d_])([-\u00ad‐])[ \t]*\n[ \t]*((?![A-ZÀ-ÖØ-Þ\d_])\w+(?:[-’']\w+)*)([^\w\s-]*)[ \t]?")
"""Where a word is broken at a line's end: the hyphen, the rest of the word, and the marks that close it."""
_BEGINNING = re.compile(r"\w+$")
_LONGEST_BEGINNING = 60
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


@dataclass(frozen=True)
class Tidied:
    """The pages, the line on which the text of each begins, and a word on what was done."""

    pages: tuple[str, ...]
    line_starts: tuple[int, ...]
    notes: tuple[str, ...]


def tidy(pages: Sequence[str]) -> Tidied:
    """The pages without what repeats at their edges, and with whole words."""
    lines = [page.translate(_LIGATURES).split("\n") for page in pages]
    tops = _repeated([_edge(each, range(len(each))) for each in lines])
    feet = _repeated([_edge(each, range(len(each) - 1, -1, -1)) for each in lines])
    kept, starts, left_out = [], [], 0
    for page, top, foot in zip(lines, tops, feet, strict=True):
        first, last = _after(page, top), min(foot, default=len(page))
        if not any(line.strip() for line in page[first:last]):  # nothing else is on the page
            first, last, top, foot = 0, len(page), [], []
        kept.append("\n".join(page[first:last]))
        starts.append(first + 1)
        left_out += len(top) + len(foot)
    joined, count = _join_words(kept)
    notes = [f"{left_out:,} running heads, feet and page numbers left out"] if left_out else []
    notes += [f"{count:,} words broken at a line's end joined"] if count else []
    return Tidied(tuple(joined), tuple(starts), tuple(notes))


def _edge(page: Sequence[str], order: Iterable[int]) -> list[tuple[int, str]]:
    """The first lines in this order that have anything on them, with their numbers."""
    written = ((n, " ".join(page[n].split())) for n in order)
    return list(islice(((n, line) for n, line in written if line), _EDGE))


def _repeated(edges: Sequence[list[tuple[int, str]]]) -> list[list[int]]:
    """For each page the lines at its edge that pages near it have too: the outermost, and those next to one such."""
    keys = [[_keys(line, page) for _, line in edge] for page, edge in enumerate(edges)]
    on: list[set[str]] = [set().union(*each) for each in keys]
    found: list[list[int]] = []
    for page, edge in enumerate(edges):
        near = Counter(key for each in on[max(0, page - _NEAR) : page + _NEAR + 1] for key in each)
        often = {key for key, pages in near.items() if pages >= _FEWEST}
        repeated = takewhile(lambda each, often=often: each[1] & often, zip(edge, keys[page], strict=True))  # type: ignore[misc]
        found.append([n for (n, _), _ in repeated])
    return found


def _keys(line: str, page: int) -> set[str]:
    """What must be equal for two pages' lines to be the same running head: the words, and if there is a number in them,
    either that number or its distance from the page's own.
    """
    if len(line) > _LONGEST:
        return set()
    if line.strip("ivxlcIVXLC-–—. ") == "" and (number := _roman(line.strip("-–—. ").lower())):
        return {f"roman {number - page}"}
    keys = {line} if re.search(r"[^\W\d_]{2}", line) else set()
    for found in re.finditer(r"\d{1,5}", line):
        keys.add(f"{line[: found.start()]}\0{int(found[0]) - page}\0{line[found.end() :]}")
    return keys


def _roman(digits: str) -> int:
    if len(digits) > 11:
        return 0
    values = [_ROMAN[digit] for digit in digits]
    return sum(-value if value < max(values[n:]) else value for n, value in enumerate(values))


def _after(page: Sequence[str], top: Sequence[int]) -> int:
    """The first line to keep: what follows the heads, and the blank lines after them."""
    first = max(top, default=-1) + 1
    while top and first < len(page) and not page[first].strip():
        first += 1
    return first


def _join_words(pages: Sequence[str]) -> tuple[list[str], int]:
    """The pages with broken words joined, and how many were.

    The hyphen stays where the document writes the word with it elsewhere, or both halves are words of it and the whole
    is not.
    """
    broken = [_halves(match) for page in pages for match in _BROKEN.finditer(page)]
    if not broken:
        return list(pages), 0
    asked = {word for first, rest in broken for word in (first, rest, first + rest, f"{first}-{rest}")}
    words = Counter(word for page in pages for word in _WORD.findall(page.casefold()) if word in asked)
    words.subtract(half for halves in broken for half in halves)

    def join(match: re.Match[str]) -> str:
        first, rest = _halves(match)
        whole, hyphened = words[first + rest] > 0, words[f"{first}-{rest}"] > 0
        keep = match[1] != "\u00ad" and not whole and (hyphened or (words[first] > 0 and words[rest] > 0))
        return f"{'-' * keep}{match[2]}{match[3]}\n"

    return [_BROKEN.sub(join, page) for page in pages], len(broken)


def _halves(match: re.Match[str]) -> tuple[str, str]:
    """The two halves of a broken word, in small letters."""
    before = match.string[max(0, match.start() - _LONGEST_BEGINNING) : match.start()]
    beginning = _BEGINNING.search(before)
    return (beginning[0] if beginning else "").casefold(), match[2].casefold()
