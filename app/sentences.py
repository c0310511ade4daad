"""A text as sentences (lines, in code and lists), and these joined into passages."""

import re
from collections.abc import Iterator

from app.passages import Passage

LONGEST = 300
"""Characters; a longer sentence is cut, where it can be behind a comma or between words."""
WRAPPED = 45
"""A line at least this long that ends in the middle of a sentence goes on in the next line."""

_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*(?:[ \t]+|[ \t]*\n[ \t]*)(?=[\"'“‘(\[]*[A-Z0-9])|[ \t]*\n\s*|(?<=[。！？])")
_NO_END = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Sr|Jr|Prof|Gen|Col|Capt|Lt|Rev|Hon|vs|No|Nos|Fig|Inc|Ltd|Co|ca|cf|pp?|vol|ed|Mt|e\.g|i\.e)"
    r"|\b[A-Z])\.$"
)
"""An abbreviation or an initial: its full stop ends no sentence."""


def sentences(text: str, start: int = 0, end: int | None = None) -> Iterator[Passage]:
    """The sentences of text[start:end], in order, without the blanks between them."""
    end = len(text) if end is None else end
    for found in _END.finditer(text, start, end):
        stop = found.start() + len(found.group().rstrip())
        if _goes_on(text, start, found):
            continue
        yield from _cut(text, start, stop)
        start = found.end()
    yield from _cut(text, start, end)


def _goes_on(text: str, start: int, gap: re.Match[str]) -> bool:
    """Whether a sentence goes on behind this gap: after an abbreviation, or from one wrapped line to the next."""
    before, blank = text[start : gap.start()], gap.group()
    if "\n" not in blank:
        return bool(_NO_END.search(before[-9:]))
    line = text[text.rfind("\n", 0, gap.start()) + 1 : gap.start()]  # the sentence may begin in the midst of it
    if blank.count("\n") > 1 or not blank.endswith("\n") or len(line) < WRAPPED:
        return False
    return text[gap.end() : gap.end() + 1].isalpha() and (before[-1:].isalpha() or before[-1:] in ",-—")


def _cut(text: str, start: int, end: int) -> Iterator[Passage]:
    """text[start:end] without blanks at its ends, in pieces of at most LONGEST characters; nothing if it is blank."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end - start > LONGEST:
        window = text[start : start + LONGEST]
        pause = max(window.rfind(mark, LONGEST // 2) + 1 for mark in (", ", "; ", ": "))
        at = pause or window.rfind(" ") + 1 or LONGEST
        yield from _cut(text, start, start + at)
        start += at
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield Passage(start, end)


def passages(text: str, start: int = 0, end: int | None = None, size: int = 700) -> list[Passage]:
    """text[start:end] as passages of whole sentences, each of at most `size` characters, in one paragraph if it can be.

    Short paragraphs and lines are joined. Every sentence is in one passage.
    """
    joined: list[Passage] = []
    for sentence in sentences(text, start, end):
        last = joined[-1] if joined else None
        if last is not None and sentence.char_end - last.char_start <= size:
            gap = text[last.char_end : sentence.char_start]
            if gap.count("\n") < 2 or last.length < size // 2:
                joined[-1] = Passage(last.char_start, sentence.char_end)
                continue
        joined.append(sentence)
    return joined
