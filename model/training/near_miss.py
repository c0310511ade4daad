"""Texts that nearly say what they said: one of their names, numbers or words is changed for another of its kind."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OPPOSITES = Path(__file__).with_name("opposites.txt")
NAME = re.compile(r"(?<=[A-Za-z0-9,'] )[A-Z][\w'’.-]*\w(?: (?:of |de |the |von )?[A-Z][\w'’.-]*\w)*")
NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b")
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


@cache
def opposites() -> dict[str, list[str]]:
    """Words and what is their opposite."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in OPPOSITES.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            one, other = line.split()
            found[one].append(other)
            found[other].append(one)
    return dict(found)


def names(text: str) -> list[str]:
    """The names of a text, not counting those that begin a sentence."""
    return list(dict.fromkeys(m[0] for m in NAME.finditer(text)))


@dataclass(frozen=True)
class Change:
    """A text with one thing changed, and the words that stood there before and stand there now."""

    text: str
    old: str
    new: str


def alter(text: str, passage: str, others: Sequence[str], source: random.Random, keep: str = "") -> Change | None:
    """A text with a name, a number or a word changed for another of its kind, or None where nothing can be changed.

    others: names to choose from, of texts like the passage. What stands there now does not stand in the passage. keep:
    a piece of the text that stays as it is.
    """
    ways = [(m, new) for m, new in [*strangers(text, passage, others, source), *numbers(text, passage, source),
                                    *turned(text, source)] if not stands(new, passage)]
    at = text.find(keep) if keep else len(text)
    ways = [(m, new) for m, new in ways if m.end() <= at or m.start() >= at + len(keep)]
    if not ways:
        return None
    match, new = source.choice(ways)
    return Change(text[: match.start()] + new + text[match.end() :], match[0], new)


Ways = list[tuple[re.Match[str], str]]
"""Pieces of a text, and what may stand there instead."""


def strangers(text: str, passage: str, others: Sequence[str], source: random.Random) -> Ways:
    """Names changed for one of `others` that the passage does not have."""
    low = passage.lower()
    strange = [name for name in others if name.lower() not in low and name not in text]
    return [(m, source.choice(strange)) for m in NAME.finditer(text)] if strange else []


def numbers(text: str, passage: str, source: random.Random) -> Ways:
    """Numbers changed for others of the same look that the passage does not have."""
    return [(m, other) for m in NUMBER.finditer(text) if (other := _number(m[0], source)) not in passage]


def turned(text: str, source: random.Random) -> Ways:
    """Words changed for their opposites."""
    known = opposites()
    return [(m, source.choice(known[m[0]])) for m in _WORD.finditer(text) if m[0] in known]


def stands(words: str, text: str) -> bool:
    """Whether a text has these words, whole, in small letters or large ones."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


def _number(said: str, source: random.Random) -> str:
    """Another number of the same look: one or both of its last two digits changed."""
    digits = [n for n, c in enumerate(said) if c.isdigit()][-2:]
    at = source.sample(digits, min(len(digits), source.choice((1, 2))))
    return "".join(str((int(c) + source.randint(1, 9)) % 10) if n in at else c for n, c in enumerate(said))
