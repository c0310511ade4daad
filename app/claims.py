"""Which citation holds which sentence of an answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.choosing import Asked, stem
from app.citations import Citation
from app.sentences import sentences

HALF = 0.5
"""The share of a sentence's content words that a quote must hold to be its witness."""
_BEHIND = re.compile(r"([.!?])((?:\s*\[\d[\d, ]*\])+)")
"""Marks behind the full stop of the sentence they belong to."""
_MARKS = re.compile(r"[ \t]*\[(\d{1,2}(?:, ?\d{1,2})*)\]")


@dataclass(frozen=True)
class Claim:
    """A sentence of an answer, and the numbers (from 1) of the citations that hold it; none, and it is unproven."""

    text: str
    citations: tuple[int, ...]


def claims(answer: str, citations: Sequence[Citation]) -> list[Claim]:
    """The sentences of an answer with their citations' numbers; only verified citations count.

    A sentence's own marks (`[2]`) are taken at their word where there is such a citation, and are left out of its text.
    Otherwise a quote is a witness if it holds HALF of the sentence's content words and all its numbers. An answer of
    one sentence stands on every quote the reply gave for it.
    """
    verified = [n for n, citation in enumerate(citations, 1) if citation.verified]
    answer = _BEHIND.sub(r"\2\1", answer)
    found = [answer[s.char_start : s.char_end] for s in sentences(answer)]
    if len(found) == 1 and not _MARKS.search(answer):
        return [Claim(found[0], tuple(verified))]
    made: list[Claim] = []
    for words in found:
        said = _MARKS.sub("", words).strip()
        marks = {int(number) for mark in _MARKS.findall(words) for number in mark.split(",")} & {*verified}
        held = marks or {n for n in verified if _holds(citations[n - 1].quote, said)}
        made.append(Claim(said, tuple(sorted(held))))
    return made


def _holds(quote: str, sentence: str) -> bool:
    words = {stem(word) for word in Asked.of(sentence).words}
    there = {stem(word) for word in Asked.of(quote).words}
    numbers = {word for word in words if word.isdigit()}
    return bool(words) and numbers <= there and len(words & there) >= HALF * len(words)
