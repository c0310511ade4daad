"""Draws samples of every kind from the corpus: which document, which questions, which evidence."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

from model.training import clozes, invented
from model.training.asking import Asker
from model.training.pools import WRITTEN, Pools
from model.training.shown import Shown, opening
from model.training.tasks import PromptForm, Sample, Turn

KINDS = {"shown": 0.5, "single": 0.08, "shown_cloze": 0.13, "several": 0.07, "cloze": 0.06, "needle": 0.04,
         "lookup": 0.03, "which_file": 0.02, "shown_code": 0.03, "shown_calls": 0.02, "long": 0.02}
"""How often a sample is of each kind (the names of the builder's methods)."""
LONG_BEFORE = (2500, 5000, 10_000, 20_000, 30_000)
"""Characters that stand before a question with evidence in a third of the samples; in the others it is an opening."""
SIZES = {"shown": (0,) * 10 + LONG_BEFORE, "shown_cloze": (0,) * 10 + LONG_BEFORE, "shown_code": (0, 0, 1, 4),
         "shown_calls": (40, 80, 120, 180),
         "several": (2500, 5000, 8000, 14000), "cloze": (500, 900, 1500, 3000, 8000),
         "long": (8000, 16000, 30000, 60000), "needle": (2000, 6000, 12000, 30000), "lookup": (8, 20, 60),
         "which_file": (2, 3, 5)}
"""Characters of a document, or lines, files or functions, that a sample may have."""
UNANSWERABLE = 0.26


class Builder:
    """Draws samples with one random generator."""

    def __init__(
        self, folder: Path, form: PromptForm, seed: int, limit: int | None = None, written: Sequence[Path] = (),
        share: float = WRITTEN,
    ) -> None:
        """folder, limit, written, share: see `Pools`."""
        self.form, self.random = form, random.Random(seed)
        self.pools = Pools(folder, self.random, limit, written, share)
        self.asker = Asker(self.pools, form)
        self.evidence = Shown(self.asker)

    def draw(self) -> Sample:
        """One sample of any kind."""
        kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
        size = self.random.choice(SIZES[kind]) if kind in SIZES else None
        sample: Sample = getattr(self, kind)() if size is None else getattr(self, kind)(size)
        return sample

    def ask(self, document: str, contexts: list[str], most: int) -> Sample:
        """Up to `most` questions about these contexts of a document, some of them unanswerable."""
        sample = Sample(document)
        pool = [row for c in contexts for row in self.pools.of_context.get(c, [])]
        self.random.shuffle(pool)
        docs = {row["doc"] for row in pool} | {r["doc"] for c in contexts for r in self.pools.negatives.get(c, [])}
        for row in [*pool, *[None] * (1 if not pool else 0)]:
            if len(sample.turns) >= most:
                break
            turn = None
            if row is None or self.random.random() < UNANSWERABLE:
                turn = self.asker.nearly(row, document) if row and self.random.random() < 0.4 else None
                turn = turn or self.asker.unanswerable(document, docs)
            turn = turn or (self.asker.answerable(row) if row else None)
            if turn:
                sample.turns.append(turn)
        return sample

    def single(self) -> Sample:
        """One passage, one to four questions."""
        rare = self.random.random() < 0.04
        context = self.random.choice(list(self.pools.negatives)) if rare else self.pools.context()
        return self.ask(context, [context], self.random.choice((1, 1, 2, 3, 4)))

    def shown(self, chars: int = 0) -> Sample:
        """A document, and questions that come with evidence. It is `chars` long, and then many are asked, or else only
        the beginning of one."""
        first = self.pools.context()
        doc = self.pools.of_context[first][0]["doc"]
        near = self.pools.by_doc[doc]
        sample = Sample(self.pools.article(doc, chars) if chars else opening(self.random.choice(near), self.random))
        some = dict.fromkeys([first, *self.random.sample(near, min(len(near), 5))])
        pool = [row for c in some for row in self.pools.of_context[c]]
        for row in self.random.sample(pool, min(len(pool), self._questions(chars))):
            sample.turns += self.evidence.of_row(row, near)
        return sample

    def shown_cloze(self, chars: int = 0) -> Sample:
        """A stretch of text `chars` long, or the beginning of one, and clozes that come with a window of it."""
        text, length = self.pools.text(), chars or 6000
        start = self.random.randrange(max(len(text) - length, 1))
        stretch = text[start : start + length]
        sample = Sample(stretch if chars else opening(stretch, self.random))
        here = clozes.usable(stretch)
        for sentence in self.random.sample(here, min(len(here), self._questions(chars))):
            if turn := self.evidence.of_cloze(sentence, stretch, here):
                sample.turns.append(turn)
        return sample

    def shown_code(self, files: int) -> Sample:
        """Files of code, or the beginning of one, and questions on them that come with some of their lines."""
        texts = self.random.sample(self.pools.code, min(len(self.pools.code), files or 1))
        named = [(m[1], text[m.end() :]) for text in texts if (m := _HEADER.match(text))]
        whole = "\n\n".join(f"# File: {path}\n{text[:6000]}" for path, text in named)
        sample = Sample(whole if files else whole[: self.random.randrange(150, 900)])
        for path, text in named * self.random.choice((2, 4)):
            if turn := self.evidence.of_code(path, text[:6000]):
                sample.turns.append(turn)
        return sample

    def shown_calls(self, functions: int) -> Sample:
        """A file of so many functions with made-up names, and questions on it that come with some of its lines."""
        path, text = invented.module(functions, self.random)
        turns = [self.evidence.of_code(path, text) for _ in range(self._questions(functions))]
        return Sample(f"# File: {path}\n{text}", [turn for turn in turns if turn])

    def _questions(self, chars: int) -> int:
        """How many questions: more behind a long document, which has to be read for them."""
        return self.random.choice((8, 12, 16) if chars else (2, 4, 6))

    def several(self, chars: int) -> Sample:
        """Passages of one article, filled up with others, about `chars` long; questions on some of them."""
        first = self.pools.short()
        near = list(self.pools.by_doc[self.pools.of_context[first][0]["doc"]])
        at = near.index(first)
        near = [first, *near[at + 1:], *near[:at]]
        chosen: list[str] = []
        while sum(map(len, chosen)) < chars:
            chosen.append(near.pop(0) if near and len(near[0]) < chars else self.pools.short())
        if self.random.random() < 0.5:
            self.random.shuffle(chosen)
        chosen = list(dict.fromkeys(chosen))
        document = "\n\n".join(chosen)
        return self.ask(document, self.random.sample(chosen, min(len(chosen), 8)), self.random.choice((1, 2, 4, 6, 8)))

    def long(self, chars: int) -> Sample:
        """Passages spread through book text, `chars` long in all."""
        chosen = list(dict.fromkeys(self.pools.short() for _ in range(4)))
        paragraphs = self.pools.filler(max(chars - sum(map(len, chosen)), 1000)).split("\n")
        for context in chosen:
            paragraphs.insert(self.random.randrange(len(paragraphs) + 1), f"\n{context}\n")
        return self.ask("\n".join(paragraphs), chosen, 6)

    def cloze(self, chars: int) -> Sample:
        """A stretch of a book, of documentation or of code, and clozes on it; some from elsewhere in the same text."""
        text = self.pools.text()
        start = self.random.randrange(max(len(text) - chars, 1))
        document, elsewhere = text[start : start + chars], text[:start] + text[start + chars :]
        here = clozes.usable(document)
        sample = Sample(document.strip())
        for sentence in self.random.sample(here, min(len(here), self.random.choice((1, 2, 4, 6)))):
            if self.random.random() < UNANSWERABLE and (turn := self.foreign(document, elsewhere)):
                sample.turns.append(turn)
            elif made := clozes.make(sentence, self.random):
                sample.turns.append(self.asker.quoting(made.question, made.quote, made.answer, "cloze"))
        return sample

    def foreign(self, document: str, elsewhere: str) -> Turn | None:
        """A cloze on a sentence of the same text that does not stand in the document, nor its answer."""
        start = self.random.randrange(max(len(elsewhere) - 4000, 1))
        away = [s for s in clozes.usable(elsewhere[start : start + 4000]) if s not in document]
        made = clozes.make(self.random.choice(away), self.random) if away else None
        if made is None or made.answer.lower() in document.lower():
            return None
        return self.asker.refusing(made.question, "cloze")

    def needle(self, chars: int) -> Sample:
        """See `invented`."""
        return invented.needle(self.pools.filler(chars), self.form, self.random)

    def lookup(self, lines: int) -> Sample:
        """See `invented`."""
        return invented.lookup(lines, self.form, self.random)

    def which_file(self, files: int) -> Sample:
        """See `invented`."""
        return invented.which_file(self.random.sample(self.pools.code, files), self.form, self.random)


_HEADER = re.compile(r"# File: (\S+)\n")
