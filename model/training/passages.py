"""Passages of texts, in runs of neighbours, and what is to be asked about each: spans of it, spans of it with a word
changed, and spans that only its neighbours have."""

from __future__ import annotations

import itertools
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.training import clozes, near_miss
from model.training.data import rows
from model.training.quotes import sentences, words

SHARES = {"articles": 0.14, "extracts": 0.1, "textbooks": 0.4, "books": 0.12, "stories": 0.1, "docs": 0.06,
          "medicine": 0.08}
"""Kinds of text, and how often a run comes from each. Of 8,000 runs every article comes three times, every story twice;
extracts are single paragraphs of Wikipedia."""
RUN, STRETCH = 12, 8000
"""Passages that are asked about together, or characters of a text that is yet to be cut."""
SHORTEST, LONGEST = 300, 900
"""Characters of the passages that a text is cut into."""
SPAN_EVERY, MOST_SPANS = 130, 6
"""One span is asked for in so many characters of a passage, but at most so many."""
ALTERED, FOREIGN = 0.6, 2
"""How often a passage is also asked about with a word changed; for how many spans that only a neighbour has."""
_WORD = re.compile(r"\w[\w'’-]*")
_BREAKS = frozenset(_WORD.findall("""
    is are was were be been being am has have had do does did can could will would may might must shall should not
    which that who whom whose where when while because although though if but or than then as so he she it they we i you
    this these those there here also however thus to
"""))
"""Words that a span does not go across."""


@dataclass(frozen=True)
class Ask:
    """What a question is to be written for: a passage, and the answer to ask for. shown: the passage that the question
    is put to. changed: the word that only the passage told has, where it is another. holds: whether the passage told
    has the answer."""

    doc: str
    told: str
    answer: str
    shown: str
    changed: str = ""
    holds: bool = True


@dataclass(frozen=True)
class Run:
    """A document's neighbouring passages, or one piece of its text that is yet to be cut into some."""

    doc: str
    pieces: tuple[str, ...]


def runs(folder: Path, seed: int) -> Iterator[Run]:
    """Runs of the corpus without end, by the shares of their kinds; a kind that is used up begins again."""
    source = random.Random(seed)
    kinds = {
        "articles": [*_contexts(folder, "qa-squad-train"), *_contexts(folder, "qa-shifts", "new_wiki")],
        "extracts": _contexts(folder, "qa-misc", "QED"),
        "stories": _contexts(folder, "qa-fairytale"),
        "textbooks": _stretches(folder, "docs-00", lambda of: of.startswith("openstax")),
        "docs": _stretches(folder, "docs-00", lambda of: not re.match("openstax|MicrosoftDocs/cpp", of)),
        "books": _stretches(folder, "books-00"),
        "medicine": _stretches(folder, "qa-medquad"),
    }
    for found in kinds.values():
        source.shuffle(found)
    turns = {kind: itertools.cycle(found) for kind, found in kinds.items() if found}
    while turns:
        yield next(turns[source.choices(list(turns), [SHARES[kind] for kind in turns])[0]])


def _contexts(folder: Path, name: str, of: str = "") -> list[Run]:
    """A question file's contexts by document, of rows whose source names `of`."""
    by_doc: dict[str, dict[str, None]] = defaultdict(dict)
    for row in _rows(folder, name):
        if of in row["source"] and len(row["context"]) <= 2 * LONGEST:
            by_doc[row["doc"]][row["context"]] = None
    return [Run(doc, tuple(list(found)[n : n + RUN])) for doc, found in by_doc.items()
            for n in range(0, len(found), RUN)]


def _stretches(folder: Path, name: str, wanted: Callable[[str], bool] = lambda _: True) -> list[Run]:
    """Stretches of a file's texts, of the sources that are wanted."""
    texts = {row.get("text") or row["context"]: f"{row['title']}, {n}"
             for n, row in enumerate(_rows(folder, name)) if wanted(row["source"])}
    return [Run(f"{title}-{at}", (text[at : at + STRETCH],)) for text, title in texts.items()
            for at in range(0, len(text), STRETCH)]


def _rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """A corpus file's rows; none where there is no such file."""
    file = folder / f"{name}.jsonl.zst"
    return rows(file) if file.exists() else iter(())


def passages(text: str, source: random.Random) -> Iterator[str]:
    """A text cut into passages of whole sentences, in order; what stands before its first whole sentence, and its last
    passage, are left out."""
    begin, end, size = -1, 0, source.randrange(SHORTEST, LONGEST)
    for sentence in sentences(text)[1:]:
        at = text.find(sentence, end)
        if begin >= 0 and at + len(sentence) - begin > size:
            if end - begin >= SHORTEST // 2:
                yield text[begin:end]
            begin, size = -1, source.randrange(SHORTEST, LONGEST)
        begin, end = at if begin < 0 else begin, at + len(sentence)


def asks(run: Run, source: random.Random) -> list[Ask]:
    """What to ask about a run's passages, in their order."""
    known = [p for piece in run.pieces for p in ([piece] if len(piece) <= 2 * LONGEST else passages(piece, source))
             if "http" not in p]
    names = near_miss.names("\n".join(known))
    found: list[Ask] = []
    for n, passage in enumerate(known):
        here = spans(passage, source, min(MOST_SPANS, 1 + len(passage) // SPAN_EVERY))
        found += [Ask(run.doc, passage, span, passage) for span in here]
        if source.random() < ALTERED:
            found += altered(run.doc, passage, names, source)
        near = known[max(n - 2, 0) : n] + known[n + 1 : n + 3]
        if near:
            away = [s for s in spans(source.choice(near), source, FOREIGN + 1) if s.lower() not in passage.lower()]
            found += [Ask(run.doc, passage, span, passage, holds=False) for span in away[:FOREIGN]]
    return found


def altered(doc: str, passage: str, names: Sequence[str], source: random.Random) -> list[Ask]:
    """Asks about spans of a sentence in which a name, a number or a word was changed: a question that names it asks for
    what the passage does not say."""
    usable = clozes.usable(passage)
    for sentence in source.sample(usable, len(usable)):
        if change := near_miss.alter(sentence, passage, names, source):
            told = passage.replace(sentence, change.text, 1)
            return [Ask(doc, told, span, passage, change.new) for span in _spans_of(change.text, source, 4)
                    if not words(span) & words(change.new)]
    return []


def spans(passage: str, source: random.Random, count: int) -> list[str]:
    """Up to so many spans of a passage that can be asked for, of different sentences while there are some."""
    usable = clozes.usable(passage)
    source.shuffle(usable)
    each = -(-count // max(len(usable), 1))
    found = [span for sentence in usable for span in _spans_of(sentence, source, each)]
    return list(dict.fromkeys(found))[:count]


def _spans_of(sentence: str, source: random.Random, count: int) -> list[str]:
    """Names, numbers and words of a sentence, or runs of up to six words that are no small ones at their ends."""
    found = []
    for _ in range(count):
        if source.random() < 0.5:
            phrases = _phrases(sentence)
            found += [source.choice(phrases)] if phrases else []
        elif span := clozes.span_of(sentence, source):
            found.append(span[0])
    return list(dict.fromkeys(found))


def _phrases(sentence: str) -> list[str]:
    """Runs of two to six words of a sentence between which nothing but a blank stands."""
    found, at = [], list(_WORD.finditer(sentence))
    content = [bool(words(m[0])) for m in at]
    for first in range(len(at)):
        for last in range(first, min(first + 6, len(at))):
            broken = at[last][0].lower() in _BREAKS or (last > first and at[last].start() != at[last - 1].end() + 1)
            if broken:
                break
            if last > first and content[first] and content[last]:
                found.append(sentence[at[first].start() : at[last].end()])
    return found
