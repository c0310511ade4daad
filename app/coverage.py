"""How much of its sources a text holds: pages and files that are missing, grouped by reason, and encodings guessed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from app.extract.codebase import INDEX
from app.extract.paged import DRAWN

NOTE = "note: "
"""Begins, in storage, what was noticed rather than left out."""
_PAGE = re.compile(r"page (\d+): (.*)", re.DOTALL)
_GUESS = re.compile(r"read as (\S+) \(guessed\)")
_FEW = 3


@dataclass(frozen=True)
class Gap:
    """What is missing for one reason: how many (pages or parts), and where, the first few of them."""

    reason: str
    pages: bool
    count: int
    where: str


@dataclass(frozen=True)
class Coverage:
    """What a text holds of its sources. files and pages: read, if in part; files_skipped, pages_missing: not read;
    encodings: (encoding, files) that were guessed; notes: what else was noticed.
    """

    files: int
    files_skipped: int
    pages: int | None
    pages_missing: int
    gaps: tuple[Gap, ...]
    encodings: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]

    @property
    def scanned(self) -> int:
        """Pages whose text OCR may find: pictures, and fonts that do not say their letters."""
        return sum(gap.count for gap in self.gaps if gap.pages and gap.reason.startswith(DRAWN))


def coverage(paths: Iterable[str], pages: int | None, skipped: Iterable[tuple[str, str]]) -> Coverage:
    """The report of a text with parts from `paths`, by the (path, reason) pairs of what is not in it and the notes."""
    read = set(paths) - {INDEX}  # which is ours, no file of theirs
    of_pages: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    of_parts: dict[str, list[str]] = defaultdict(list)
    guessed: dict[str, int] = defaultdict(int)
    notes = []
    for path, reason in skipped:
        if reason.startswith(NOTE):
            if guess := _GUESS.search(reason):
                guessed[guess[1]] += 1
            else:
                notes.append(f"{path}: {reason.removeprefix(NOTE)}")
        elif page := _PAGE.match(reason):
            of_pages[_kind(page[2])][path].append(int(page[1]))
        else:
            of_parts[_kind(reason)].append(path)
    several = len(read) > 1
    gaps = [Gap(why, True, sum(map(len, where.values())), _pages(where, several)) for why, where in of_pages.items()]
    gaps += [Gap(reason, False, len(where), _some(where)) for reason, where in of_parts.items()]
    gaps.sort(key=lambda gap: (not gap.pages, -gap.count, gap.reason))
    left_out = {path for where in of_parts.values() for path in where} - read
    missing = sum(gap.count for gap in gaps if gap.pages)
    encodings = tuple(sorted(guessed.items()))
    return Coverage(len(read), len(left_out), pages, missing, tuple(gaps), encodings, tuple(notes))


def in_words(report: Coverage) -> list[str]:
    """The report as lines; none if nothing is missing and nothing was noticed."""
    lines = []
    if report.pages_missing:
        lines.append(f"{report.pages_missing:,} of {report.pages or 0:,} pages are not or not rightly in the text")
    if report.files_skipped:
        lines.append(f"{report.files:,} file{'s' * (report.files != 1)} read, {report.files_skipped:,} left out")
    for gap in report.gaps:
        lines.append(f"  {f'{gap.count:,} × ' if gap.count > 1 else ''}{gap.reason}: {gap.where}")
    if report.scanned:
        lines.append("  (scanned pages can be read with --ocr)")
    lines += [f"  {count:,} file{'s' * (count != 1)} read as {name} (guessed)" for name, count in report.encodings]
    return lines + [f"  {note}" for note in report.notes]


def _kind(reason: str) -> str:
    """A reason without the numbers that differ from page to page."""
    return re.sub(r" \(\d+ (?:of \d+ )?characters[;,]? ?", " (", reason) if " characters" in reason else reason


def _pages(where: dict[str, list[int]], several: bool) -> str:
    """Page numbers as a reader writes them: "3, 7–9"; with the file's name if there are several."""
    names = ((f"{path} " if several else "", pages) for path, pages in where.items())
    return _some([f"{name}page{'s' * (len(pages) > 1)} {_ranges(pages)}" for name, pages in names])


def _ranges(numbers: Sequence[int]) -> str:
    runs = []
    for _, run in groupby(enumerate(sorted(numbers)), lambda each: each[1] - each[0]):
        these = [number for _, number in run]
        runs.append(str(these[0]) if len(these) == 1 else f"{these[0]}–{these[-1]}")
    return ", ".join(runs[:20]) + (f" and {len(runs) - 20:,} more" if len(runs) > 20 else "")


def _some(names: Sequence[str]) -> str:
    """All of a few names, or the first of many."""
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"{', '.join(names[:_FEW])} and {len(names) - _FEW:,} more"
