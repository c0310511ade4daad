"""Questions without annotators: a sentence of any text with one of its spans asked for.

Reading a question and finding its sentence is a skill of matching, and takes more examples than question sets have. A
cloze asks for a name, a number or a word of one sentence by some of that sentence's other words: with a blank, with a
question word in the span's place, or by bare keywords. The same question over a text from which the sentence is absent
is an unanswerable one. Any book, page of documentation or source file gives as many as wanted.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from model.training.quotes import sentences, trim, words

_NUMBER = re.compile(r"\b\d[\d,.]*\b(?: (?:per cent|percent|years?|days?|miles?|feet|pounds?|dollars|men|people))?")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+(?:(?: of| de| the)? [A-Z][a-z]+){0,3}")
_WORD = re.compile(r"\b[a-z]{5,}\b")
_MONTHS = re.compile(r"January|February|March|April|May|June|July|August|September|October|November|December")
SHORTEST, LONGEST = 40, 400
"""Characters of a sentence that is asked about."""


@dataclass(frozen=True)
class Cloze:
    """A question, its answer, and the quote that holds it."""

    question: str
    answer: str
    quote: str


def usable(text: str) -> list[str]:
    """The sentences of a text that can be asked about: of a fair length and not all alike."""
    found = [s for s in sentences(text) if SHORTEST <= len(s) <= LONGEST and len(words(s)) >= 5]
    return list(dict.fromkeys(found))


def make(sentence: str, source: random.Random) -> Cloze | None:
    """A question about one sentence, or None where it has no span to ask for."""
    span = span_of(sentence, source)
    if span is None:
        return None
    before, answer, after = sentence[: span.start()], span[0], sentence[span.end() :]
    form = source.random()
    if form < 0.3:
        question = f"Which words are missing: {_near(before, after, '____', source)}"
    elif form < 0.75:
        question = _asked(before, answer, after, source)
    else:
        question = _keywords(before + after, answer, source)
    if len(words(question) & words(before + after)) < 2:
        return None
    return Cloze(question, answer, trim(sentence, answer))


def span_of(sentence: str, source: random.Random) -> re.Match[str] | None:
    """A name, a number, or else a longer word that stands in the sentence once."""
    names = [m for m in _NAME.finditer(sentence) if sentence.count(m[0]) == 1]
    numbers = [m for m in _NUMBER.finditer(sentence) if sentence.count(m[0]) == 1]
    plain = [m for m in _WORD.finditer(sentence) if sentence.count(m[0]) == 1]
    pools = [pool for pool, share in ((names, 0.9), (numbers, 0.9), (plain, 0.4)) if pool and source.random() < share]
    return source.choice(source.choice(pools)) if pools else None


def _kind(answer: str, source: random.Random) -> str:
    """The question word for an answer."""
    if _MONTHS.search(answer) or re.fullmatch(r"1[0-9]{3}|20[0-9]{2}", answer):
        return "when"
    if answer[0].isdigit():
        return source.choice(("how many", "what number"))
    return source.choice(("who", "where", "what", "which name")) if answer[0].isupper() else "what"


def _near(before: str, after: str, gap: str, source: random.Random) -> str:
    """The sentence around a gap, from some words before it to some after."""
    left, right = before.split(), after.split()
    left = left[max(0, len(left) - source.randint(4, 16)) :]
    right = right[: source.randint(4, 16)]
    joined = " ".join([*left, gap, *right]).strip(" ,;:")
    return re.sub(rf"{re.escape(gap)} ([,.;:!?])", rf"{gap}\1", joined)


def _asked(before: str, answer: str, after: str, source: random.Random) -> str:
    """The sentence as a question: the question word first or in the span's place, some other words left out."""
    kind = _kind(answer, source)
    if source.random() < 0.5:
        text = _thinned(_near(before, after, kind, source), source, keep=kind)
    else:
        text = f"{kind} {_thinned(_near(before, after, '', source), source)}"
    text = " ".join(text.split()).rstrip(" .,;:!?\"'”’)")
    return text[:1].upper() + text[1:] + "?"


def _thinned(text: str, source: random.Random, keep: str = "") -> str:
    """A text with up to a third of its words left out at random."""
    share = source.random() * 0.33
    return " ".join(w for w in text.split() if w in keep.split() or source.random() >= share)


def _keywords(rest: str, answer: str, source: random.Random) -> str:
    """A question by keywords alone."""
    known = [w for w in re.findall(r"\w+", rest) if w.lower() in words(rest)]
    chosen = sorted(source.sample(range(len(known)), min(len(known), source.randint(2, 5))))
    said = ", ".join(known[n] for n in chosen)
    return source.choice(
        (f"{_kind(answer, source).capitalize()} is named with {said}?", f"What does the text give for {said}?", said)
    )
