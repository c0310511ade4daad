"""Questions that a passage nearly answers: one of their names, numbers or words is changed for another of its kind."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

_NAME = re.compile(r"(?<=[a-z0-9,'] )[A-Z][\w'-]+(?: (?:of |de |the )?[A-Z][\w'-]+)*")
_NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b")
_PAIRS = (("first", "last"), ("largest", "smallest"), ("most", "least"), ("highest", "lowest"), ("before", "after"),
          ("north", "south"), ("east", "west"), ("northern", "southern"), ("eastern", "western"), ("more", "fewer"),
          ("increase", "decrease"), ("oldest", "youngest"), ("longest", "shortest"), ("best", "worst"),
          ("win", "lose"), ("won", "lost"), ("began", "ended"), ("begin", "end"), ("start", "end"),
          ("started", "stopped"), ("father", "mother"), ("son", "daughter"), ("brother", "sister"), ("king", "queen"),
          ("male", "female"), ("public", "private"), ("inside", "outside"), ("open", "close"), ("early", "late"),
          ("rich", "poor"), ("major", "minor"), ("maximum", "minimum"), ("good", "bad"), ("always", "never"),
          ("born", "buried"), ("built", "destroyed"), ("opened", "closed"), ("bought", "sold"), ("import", "export"),
          ("left", "right"), ("above", "below"), ("young", "old"), ("higher", "lower"), ("greater", "smaller"))
_OTHER = dict(_PAIRS) | {b: a for a, b in _PAIRS}
_WORD = re.compile(r"[a-z]+")


def names(text: str) -> list[str]:
    """The names of a text, not counting those that begin a sentence."""
    return list(dict.fromkeys(m[0] for m in _NAME.finditer(text)))


@dataclass(frozen=True)
class Change:
    """A text with one thing changed, and the words that stood there before and stand there now."""

    text: str
    old: str
    new: str


def make(question: str, passage: str, others: Sequence[str], source: random.Random) -> str | None:
    """A question made from `question` that the passage does not answer, or None where nothing can be changed."""
    change = alter(question, passage, others, source)
    return change.text if change else None


def alter(text: str, passage: str, others: Sequence[str], source: random.Random, keep: str = "") -> Change | None:
    """A text with a name, a number or a word changed for another of its kind, or None where nothing can be changed.

    others: names to choose from, of texts like the passage. A changed name or word does not stand in the passage. keep:
    a piece of the text that stays as it is.
    """
    low = passage.lower()
    ways: list[tuple[re.Match[str], str]] = []
    strange = [name for name in others if name.lower() not in low and name not in text]
    if strange:
        ways += [(m, source.choice(strange)) for m in _NAME.finditer(text)]
    ways += [(m, other) for m in _NUMBER.finditer(text) if (other := _number(m[0], source)) not in passage]
    ways += [(m, _OTHER[m[0]]) for m in _WORD.finditer(text)
             if m[0] in _OTHER and not re.search(rf"\b{_OTHER[m[0]]}", low)]
    at = text.find(keep) if keep else len(text)
    ways = [(m, other) for m, other in ways if m.end() <= at or m.start() >= at + len(keep)]
    if not ways:
        return None
    match, other = source.choice(ways)
    return Change(text[: match.start()] + other + text[match.end() :], match[0], other)


def _number(said: str, source: random.Random) -> str:
    """Another number of the same look: one or both of its last two digits changed."""
    digits = [n for n, c in enumerate(said) if c.isdigit()][-2:]
    at = source.sample(digits, min(len(digits), source.choice((1, 2))))
    return "".join(str((int(c) + source.randint(1, 9)) % 10) if n in at else c for n, c in enumerate(said))
