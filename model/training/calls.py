"""Questions on source code that are answered from a line and what stands above it: which file defines a name, which
function calls it. The quotes are those of `app.answers`."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

DEFINES = re.compile(r"^[ \t]*(?:pub |async |export )*(?:def|func|fn|function|class|struct) (\w{4,})[^\n]*", re.M)
_CALL = re.compile(r"^[ \t]+[^\n#/]*?\b(\w{4,})\([^\n]*", re.M)
SHORT = 300
"""Characters of a function with a call in it that are quoted whole."""
LONGEST_LINE = 160
WHERE = ("Which file defines {}?", "In which file is {} defined?", "Where is `{}` defined?")
WHO = ("Which function calls {}?", "Who calls {}?", "What function is {} called in?", "Which method uses `{}`?")


@dataclass(frozen=True)
class Found:
    """A question, its answer, the quote that is put before the model, and the stretch of code that is shown."""

    question: str
    answer: str
    quote: str
    shown: str


def definition(path: str, text: str, source: random.Random) -> Found | None:
    """Which file defines a name of this one, or None where it defines nothing."""
    lines = [m for m in DEFINES.finditer(text) if len(m[0]) <= LONGEST_LINE]
    if not lines:
        return None
    line = source.choice(lines)
    quote = f"# File: {path} … {_joined(line[0])}"
    return Found(source.choice(WHERE).format(line[1]), path, quote, _around(text, line.start(), line.end(), source))


def call(text: str, source: random.Random) -> Found | None:
    """Which function calls a name, or None where no function is seen to."""
    heads = list(DEFINES.finditer(text))
    found = []
    for line in _CALL.finditer(text):
        above = [h for h in heads if h.start() < line.start() and _indent(h[0]) < _indent(line[0])]
        if above and not DEFINES.match(line[0]) and above[-1][1] != line[1] and len(line[0]) <= LONGEST_LINE:
            found.append((above[-1], line))
    if not found:
        return None
    head, line = source.choice(found)
    whole = text[head.start() : line.end()]
    quote = _joined(whole) if len(whole) <= SHORT else f"{_joined(head[0])} … {_joined(line[0])}"
    begin = head.start() if len(whole) <= 2 * SHORT else line.start()
    return Found(source.choice(WHO).format(line[1]), head[1], quote, _around(text, begin, line.end(), source))


def _around(text: str, start: int, end: int, source: random.Random) -> str:
    """Whole lines from a little above `start` to a little below `end`."""
    start = text.rfind("\n", 0, max(0, start - source.randrange(300))) + 1
    stop = text.find("\n", min(len(text), end + source.randrange(300)))
    return text[start : len(text) if stop < 0 else stop].strip("\n")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _joined(text: str) -> str:
    return " ".join(text.split())
