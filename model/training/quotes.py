"""Which words of a passage hold an answer: a verbatim quote for the reply."""

from __future__ import annotations

import re

LONGEST = 200
LONGEST_WHOLE = 400
_BREAK = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])|\n+")
_WORD = re.compile(r"\w+")
_COMMON = frozenset(_WORD.findall("""
    a an the of in on at to for and or is was are were be by with as that this it its from did do does
    what which who whom whose when where why how many much he she they his her their
"""))


def words(text: str) -> set[str]:
    """Lower-case content words."""
    return {w for w in _WORD.findall(text.lower()) if w not in _COMMON}


def sentences(text: str) -> list[str]:
    """The sentences or lines of a text, each a verbatim piece of it."""
    pieces, start = [], 0
    for match in _BREAK.finditer(text):
        head = match.group().rstrip()
        pieces.append(text[start: match.start() + len(head)])
        start = match.end()
    return [p.strip() for p in [*pieces, text[start:]] if p.strip()]


def trim(sentence: str, answer: str) -> str:
    """At most `LONGEST` characters of a sentence, whole words, around the answer where it occurs."""
    if len(sentence) <= LONGEST:
        return sentence
    at = max(sentence.find(answer), 0)
    start = max(0, min(at - (LONGEST - len(answer)) // 2, len(sentence) - LONGEST))
    if start:
        space = sentence.find(" ", start)
        start = space + 1 if 0 <= space < at else start
    cut = sentence[start: start + max(LONGEST, at - start + len(answer))]
    if start + len(cut) < len(sentence) and (space := cut.rfind(" ")) >= at - start + len(answer):
        cut = cut[:space]
    return cut.strip()


def quote_for(context: str, question: str, answer: str, whole: bool = False) -> str | None:
    """The sentence that holds the answer (the one nearest to the question if several); for an answer in other words
    the sentence that shares most with both, if it shares enough; else None. whole: a long sentence is not trimmed."""
    asked, said = words(question), words(answer)
    pieces = sentences(context)
    holding = [s for s in pieces if answer and answer in s]
    if holding:
        best = max(holding, key=lambda s: len(words(s) & asked))
        return best if whole and len(best) <= LONGEST_WHOLE else trim(best, answer)
    if not said or answer in context:
        return None
    best = max(pieces, key=lambda s: 2 * len(words(s) & said) + len(words(s) & asked), default="")
    shared = words(best) & (said | asked)
    if len(words(best) & said) * 2 < len(said) and len(shared) < 3:
        return None
    return trim(best, answer)
