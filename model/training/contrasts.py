"""A question that a passage answers beside one that it nearly answers; nothing in either alone tells which is which.

One thing of the question is changed: a name for another of the passage or a stranger, two names for each other, a
number, a word for its opposite; or it is negated (swaps of entities and antonyms: Gautam et al., 2023, arXiv
2310.19403). The passage does not answer what is asked now. Where the old words stand in the passage, too, they are
changed there for half of the questions: then the changed question is the one that is answered (contrast sets: Gardner
et al., 2020, arXiv 2004.02709).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from model.training.near_miss import NAME, NUMBER, names, numbers, strangers, turned

KINDS = {"neighbour": 3.0, "stranger": 1.0, "exchange": 1.0, "number": 2.0, "other_number": 1.0, "opposite": 3.0,
         "negation": 1.2}
"""How often a change is of each kind, where a question can be changed so."""
PRESENT = 0.3
"""How often an opposite is taken that the passage has, too."""
TURNED = 0.5
"""How often the passage is changed, where it can be."""
_NEGATED = {word: f"{word}n't" for word in ("is", "are", "was", "were", "do", "does", "did", "could", "has", "have",
                                            "had", "would", "should")}
_NEGATED |= {"can": "can't", "will": "won't", "may": "may not", "might": "might not", "must": "must not"}
_AUXILIARY = re.compile(rf"(?<= )(?:{'|'.join(_NEGATED)})\b(?!n't| not|')")
_NEGATION = re.compile(r"(?<!\bca)(?<!\bwo)(?:n['’]t| not| never)\b")


@dataclass(frozen=True)
class Contrast:
    """A passage, a question that it answers as the one that was given, and one that it does not."""

    passage: str
    answered: str
    missed: str


def make(question: str, passage: str, answer: str, others: Sequence[str], source: random.Random,
         fixed: bool = False) -> Contrast | None:
    """A contrast to a question, or None where nothing can be changed. answer: words of the passage; they stay as they
    are. others: names of texts like the passage. fixed: the passage stays as it is, too."""
    ways = {"neighbour": _neighbours(question, passage, answer, source), "exchange": _exchanges(question, passage),
            "stranger": [(m[0], new) for m, new in strangers(question, passage, others, source)],
            "number": [(m[0], new) for m, new in numbers(question, passage, source)],
            "other_number": _other_numbers(question, passage, answer, source),
            "opposite": _opposites(question, passage, source), "negation": _negations(question)}
    kinds = [kind for kind, some in ways.items() if some]
    if not kinds:
        return None
    kind = source.choices(kinds, [KINDS[each] for each in kinds])[0]
    old, new = source.choice(ways[kind])
    if kind == "negation":
        return Contrast(passage, question, new)
    missed = swapped(question, old, new)
    if missed == question:
        return None
    touched = _has(answer, old) or _has(answer, new) or not _has(passage, old)
    if fixed or touched or source.random() >= TURNED:
        return Contrast(passage, question, missed)
    other = swapped(passage, old, new)
    return Contrast(other, missed, question) if answer in other else None


def swapped(text: str, one: str, other: str) -> str:
    """A text with two words, or runs of words, in each other's place."""
    either = re.compile(rf"(?<!\w)(?:{re.escape(one)}|{re.escape(other)})(?!\w)")
    return either.sub(lambda m: other if m[0] == one else one, text)


def _neighbours(question: str, passage: str, answer: str, source: random.Random) -> list[tuple[str, str]]:
    """Names of the question and others of the passage that share no word with them or with the answer."""
    known = [name for name in names(passage) if name not in question and not _alike(name, answer)]
    asked = names(question)
    return [(old, source.choice(near)) for old in asked if (near := [new for new in known if not _alike(old, new)])]


def _exchanges(question: str, passage: str) -> list[tuple[str, str]]:
    """Two names of the question that the passage has, too."""
    asked = [m[0] for m in NAME.finditer(question) if _has(passage, m[0])]
    return [(one, other) for one, other in pairwise(asked) if not _alike(one, other)]


def _other_numbers(question: str, passage: str, answer: str, source: random.Random) -> list[tuple[str, str]]:
    """Numbers of the question and others of the passage that look like them."""
    known = [number for number in dict.fromkeys(NUMBER.findall(passage)) if not _has(answer, number)]
    found = []
    for old in NUMBER.findall(question):
        like = [new for new in known if len(new) == len(old) and not _has(question, new)]
        found += [(old, source.choice(like))] if like else []
    return found


def _opposites(question: str, passage: str, source: random.Random) -> list[tuple[str, str]]:
    """Words of the question and their opposites, mostly such as the passage does not have."""
    found = [(m[0], new) for m, new in turned(question, source)]
    return [(old, new) for old, new in found if source.random() < PRESENT or not _has(passage, new)]


def _negations(question: str) -> list[tuple[str, str]]:
    """The question and what it is without its negation, or with one."""
    if m := _NEGATION.search(question):
        return [(question, question[: m.start()] + question[m.end() :])]
    return [(question, question[: m.start()] + _NEGATED[m[0]] + question[m.end() :])
            for m in _AUXILIARY.finditer(question)]


def _has(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def _alike(one: str, other: str) -> bool:
    """Whether two names share a word."""
    return not set(one.lower().split()).isdisjoint(other.lower().split())
