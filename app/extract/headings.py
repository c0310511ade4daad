"""Headings of texts that are read as they are written: Markdown and reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.extract.parts import Heading

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HASHES = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#*)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_NO_PARAGRAPH = re.compile(r" {0,3}(?:>|[-+*][ \t]|\d{1,9}[.)][ \t]|\||$)| {4}|\t")
"""What a line begins with that no underline turns into a heading."""
_RST_LINE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}[ \t]*$")
"""Three or more of one mark, as reStructuredText draws them under a title, and over it."""


def markdown_headings(text: str) -> tuple[Heading, ...]:
    """The headings of a Markdown text, `# …` or underlined; code fences and front matter are passed over."""
    found: list[Heading] = []
    fence, previous, previous_at = "", "", 0
    lines = _lines(text)
    if text.startswith("---\n") and (end := text.find("\n---", 3)) > 0:
        lines = ((at, line) for at, line in lines if at > end + 1)
    for at, line in lines:
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line[mark.end() :].strip("`~ \t"):
                fence = ""
        elif mark:
            fence = mark[1]
        elif heading := _HASHES.match(line):
            if heading[2].strip("# \t"):
                found.append(Heading(len(heading[1]), heading[2], at))
        elif (rule := _UNDERLINE.match(line)) and not _NO_PARAGRAPH.match(previous):
            found.append(Heading(1 if rule[1][0] == "=" else 2, previous.strip(), previous_at))
        previous, previous_at = "" if fence or mark else line, at
    return tuple(found)


def rst_headings(text: str) -> tuple[Heading, ...]:
    """The section titles of a reStructuredText; levels come in the order in which their marks are first used."""
    found: list[Heading] = []
    marks: list[str] = []
    lines = list(_lines(text))
    for n in range(1, len(lines)):
        (at, title), (_, under) = lines[n - 1], lines[n]
        if not _RST_LINE.match(under) or not title.strip() or _RST_LINE.match(title):
            continue
        over = n > 1 and lines[n - 2][1].rstrip() == under.rstrip()
        before = lines[n - 2][1].strip() if n > 1 else ""
        alone = over or (title[0] not in " \t" and not before)
        if not alone or len(under.rstrip()) < min(len(title.rstrip()), 4):
            continue
        mark = under[0] * (2 if over else 1)
        if mark not in marks:
            marks.append(mark)
        found.append(Heading(marks.index(mark) + 1, title.strip(), at))
    return tuple(found)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Every line with the place where it begins."""
    at = 0
    for line in text.split("\n"):
        yield at, line
        at += len(line) + 1


_DIVISIONS = {
    1: "volume book part act",
    2: "chapter canto scene letter lecture prologue epilogue preface foreword introduction afterword appendix",
}
_COUNT = (
    r"(?:[ivxlcdm]+|\d{1,3}|[a-z]|(?:(?:twenty|thirty|forty|fifty)-?)?(?:one|two|three|four|five|six|seven|eight|nine)|"
    r"ten|eleven|twelve|\w{3,5}teen|twenty|thirty|forty|fifty|the \w{3,8})"
)
_NUMBERED = re.compile(r"[ \t]*[A-Z]\w+[ \t]+(?:[IVXLCDM]+|\d{1,3})\b")
_LEADERS = re.compile(r"\.[ .]{2,}\d+$")
"""The dots before a page's number in a table of contents."""
_DIVISION = {
    level: re.compile(rf"[ \t]*(?:{'|'.join(words.split())})(?:[ \t]+{_COUNT})?(?:[.:)—–-].{{0,80}})?[ \t]*$", re.I)
    for level, words in _DIVISIONS.items()
}


def book_headings(text: str, printed: bool = False) -> tuple[Heading, ...]:
    """Lines of a plain text that name a chapter, a part or an act and stand alone between blank lines.

    A `printed` text has no blank lines: there, those count that begin with a capital and have a number.
    """
    found: list[Heading] = []
    blank = True
    lines = [*_lines(text), (len(text), "")]
    for n, (at, line) in enumerate(lines[:-1]):
        alone = blank and not lines[n + 1][1].strip()
        numbered = printed and _NUMBERED.match(line) and not _LEADERS.search(line)
        if line and len(line) <= 120 and (alone or numbered):
            level = next((level for level, words in _DIVISION.items() if words.match(line)), None)
            if level:
                found.append(Heading(level, line.strip(), at))
        blank = not line.strip()
    highest = min((heading.level for heading in found), default=1)
    return tuple(Heading(heading.level - highest + 1, heading.title, heading.char_start) for heading in found)
