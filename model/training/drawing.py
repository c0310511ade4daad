"""Draws samples of every kind from the corpus: which document, which questions, which evidence."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from model.training import clozes, invented, near_miss
from model.training.data import rows
from model.training.quotes import quote_for, sentences, words
from model.training.tasks import PromptForm, Sample, Turn

FILES = {"qa-squad-train": 0.34, "qa-shifts": 0.26, "qa-fairytale": 0.22, "qa-textbook": 0.08, "qa-misc": 0.06,
         "qa-code": 0.04}
"""Question files and how often a single-passage sample comes from each."""
KINDS = {"shown": 0.36, "single": 0.2, "shown_cloze": 0.16, "several": 0.08, "cloze": 0.09, "needle": 0.04,
         "lookup": 0.03, "which_file": 0.02, "long": 0.02}
"""How often a sample is of each kind (the names of the builder's methods)."""
SIZES = {"several": (2500, 5000, 8000, 14000), "cloze": (500, 900, 1500, 3000, 8000),
         "long": (8000, 16000, 30000, 60000), "needle": (2000, 6000, 12000, 30000), "lookup": (8, 20, 60),
         "which_file": (2, 3, 5)}
"""Characters of a document, or lines, or files, that a sample may have."""
LONGEST_ANSWER = 160
UNANSWERABLE = 0.26
MISLED = 0.08
"""How often a reply with evidence has the wrong quote put before the model, to answer nevertheless."""
OPTIONS = 0.05
"""How often a question names the answers to choose from."""

Row = dict[str, Any]


class Builder:
    """Draws samples with one random generator."""

    def __init__(self, folder: Path, form: PromptForm, seed: int, limit: int | None = None) -> None:
        self.form, self.random = form, random.Random(seed)
        self.pools: dict[str, dict[str, list[Row]]] = {}
        self.by_doc: dict[str, list[str]] = defaultdict(list)
        self.of_context: dict[str, list[Row]] = {}
        for name in FILES:
            contexts: dict[str, list[Row]] = defaultdict(list)
            for n, row in enumerate(rows(folder / f"{name}.jsonl.zst")):
                if limit and n >= limit:
                    break
                if row["answers"] and len(row["answers"][0]) <= LONGEST_ANSWER and not _poor(row, self.random):
                    contexts[row["context"]].append(row)
            self.pools[name] = dict(contexts)
            self.of_context |= contexts
            for context, group in contexts.items():
                self.by_doc[group[0]["doc"]].append(context)
        self.negatives: dict[str, list[Row]] = defaultdict(list)
        for n, row in enumerate(rows(folder / "qa-negatives.jsonl.zst")):
            if not (limit and n >= limit):
                self.negatives[row["context"]].append(row)
        self.contexts = {name: list(pool) for name, pool in self.pools.items()}
        self.short = [c for c in self.of_context if len(c) < 1600]
        self.names = {doc: near_miss.names("\n".join(found[:40])) for doc, found in self.by_doc.items()}
        self.books = [r["text"] for n, r in enumerate(rows(folder / "books-00.jsonl.zst")) if n < (limit or 60)]
        self.docs = [r["text"] for n, r in enumerate(rows(folder / "docs-00.jsonl.zst")) if n < (limit or 2000)]
        self.code = [r["text"] for n, r in enumerate(rows(folder / "code-00.jsonl.zst")) if n < (limit or 3000)]

    def draw(self) -> Sample:
        """One sample of any kind."""
        kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
        size = self.random.choice(SIZES.get(kind, (0,)))
        sample: Sample = getattr(self, kind)(size) if size else getattr(self, kind)()
        return sample

    def answerable(self, row: Row) -> Turn | None:
        """A turn for a question row whose quote can be found in its context, else None."""
        literal = [a for a in row["answers"] if a in row["context"]]
        answer = (literal or row["answers"])[0].strip()
        quote = quote_for(row["context"], row["question"], answer, whole=self.random.random() < 0.5)
        if quote is None:
            return None
        return Turn(row["question"], self.form.reply.format(quote=quote, answer=answer), row["id"])

    def unanswerable(self, document: str, docs: set[str]) -> Turn | None:
        """A turn whose question belongs to another passage of the same documents."""
        near = list(self.negatives.get(document, []))
        if not near or self.random.random() < 0.4:
            others = [c for d in sorted(docs) for c in self.by_doc[d] if c not in document]
            if others:
                near = self.of_context[self.random.choice(others)]
        if not near:
            return None
        row = self.random.choice(near)
        if any(a.lower() in document.lower() for a in row["answers"]):
            return None
        return Turn(row["question"], self.form.not_found, row["id"])

    def nearly(self, row: Row, document: str) -> Turn | None:
        """A turn whose question is a row's with one thing changed, so that the document does not answer it."""
        question = near_miss.make(row["question"], document, self.names[row["doc"]], self.random)
        return Turn(question, self.form.not_found, row["id"]) if question else None

    def ask(self, document: str, contexts: list[str], most: int) -> Sample:
        """Up to `most` questions about these contexts of a document, some of them unanswerable."""
        sample = Sample(document)
        pool = [row for c in contexts for row in self.of_context.get(c, [])]
        self.random.shuffle(pool)
        docs = {row["doc"] for row in pool} | {r["doc"] for c in contexts for r in self.negatives.get(c, [])}
        for row in [*pool, *[None] * (1 if not pool else 0)]:
            if len(sample.turns) >= most:
                break
            turn = None
            if row is None or self.random.random() < UNANSWERABLE:
                turn = self.nearly(row, document) if row and self.random.random() < 0.4 else None
                turn = turn or self.unanswerable(document, docs)
            turn = turn or (self.answerable(row) if row else None)
            if turn:
                sample.turns.append(turn)
        return sample

    def context(self) -> str:
        """A context of some question file."""
        return self.random.choice(self.contexts[self.random.choices(list(FILES), list(FILES.values()))[0]])

    def single(self) -> Sample:
        """One passage, one to four questions."""
        context = self.random.choice(list(self.negatives)) if self.random.random() < 0.04 else self.context()
        return self.ask(context, [context], self.random.choice((1, 1, 2, 3, 4)))

    def shown(self) -> Sample:
        """The beginning of a document, and questions that come with evidence: the right passage, others, or both."""
        doc = self.of_context[self.context()][0]["doc"]
        near = self.by_doc[doc]
        sample = Sample(_opening(self.random.choice(near), self.random))
        pool = [row for c in self.random.sample(near, min(len(near), 6)) for row in self.of_context[c]]
        for row in self.random.sample(pool, min(len(pool), self.random.choice((2, 4, 6)))):
            if turn := self.with_evidence(row, near):
                sample.turns.append(turn)
        return sample

    def with_evidence(self, row: Row, near: list[str]) -> Turn | None:
        """A turn that shows windows of passages: the row's, passages like the question, or both."""
        turn = self.answerable(row)
        if turn is None:
            return None
        quote = _quote_of(turn)
        wrong = self.misleading(row, near, self.random.choice((0, 0, 1, 2)))
        kind = self.random.random()
        if kind < UNANSWERABLE:
            right = _window(row["context"], quote, self.random)
            missed = self.nearly(row, "\n".join([right, *wrong])) if self.random.random() < 0.45 else None
            if missed:
                return self.showing(missed, [right, *wrong])
            wrong = wrong or self.misleading(row, near, 1)
            return self.showing(Turn(row["question"], self.form.not_found, row["id"]), wrong) if wrong else None
        if self.random.random() < OPTIONS:
            turn = self.with_options(turn, row)
        turn = self.showing(turn, [_window(row["context"], quote, self.random), *wrong])
        return self.misled(turn, quote) if kind > 1 - MISLED else turn

    def with_options(self, turn: Turn, row: Row) -> Turn:
        """A turn whose answer is one of several that its question names, as a report's column may."""
        answer = turn.reply.rsplit("\n", 1)[1].split(" ", 1)[1]
        other = [name for name in self.names[row["doc"]] if name.lower() not in answer.lower()]
        if len(answer.split()) > 5 or len(other) < 3:
            return turn
        options = [answer, *self.random.sample(other, self.random.choice((1, 2, 3)))]
        self.random.shuffle(options)
        question = f"{turn.question.strip()} {self.form.options.format(options='; '.join(options))}"
        return Turn(question, turn.reply, turn.source, turn.shown)

    def misleading(self, row: Row, near: list[str], count: int) -> list[str]:
        """Windows of other passages of the document around sentences that share words with the question."""
        asked, answers = words(row["question"]), [a.lower() for a in row["answers"]]
        others = [c for c in self.random.sample(near, min(len(near), 5)) if c != row["context"]]
        if self.random.random() < 0.1 or not others:
            others.append(self.random.choice(self.short))
        found = [(len(words(s) & asked), c, s) for c in others for s in sentences(c)]
        found.sort(key=lambda each: -each[0])
        windows = [_window(c, s, self.random) for _, c, s in found[: count + 1]]
        return [w for w in windows if not any(a in w.lower() for a in answers)][:count]

    def showing(self, turn: Turn, windows: list[str]) -> Turn:
        """A turn with windows as its evidence, in any order."""
        self.random.shuffle(windows)
        return Turn(turn.question, turn.reply, turn.source, "\n\n".join(dict.fromkeys(windows)))

    def misled(self, turn: Turn, quote: str) -> Turn:
        """A turn whose quote is another sentence of its evidence, given and not learned; the answer stays."""
        others = [s for s in sentences(turn.shown) if s not in quote and quote not in s]
        if not others:
            return turn
        answer = turn.reply[len(self.form.reply.split("{quote}")[0]) + len(quote) :]
        given = self.form.reply.split("{quote}")[0] + self.random.choice(others)
        fixed = given + self.form.reply.split("{quote}")[1].split(" {answer}")[0]
        return Turn(turn.question, given + answer, turn.source, turn.shown, len(fixed))

    def several(self, chars: int) -> Sample:
        """Passages of one article, filled up with others, about `chars` long; questions on some of them."""
        first = self.random.choice(self.short)
        near = list(self.by_doc[self.of_context[first][0]["doc"]])
        at = near.index(first)
        near = [first, *near[at + 1:], *near[:at]]
        chosen: list[str] = []
        while sum(map(len, chosen)) < chars:
            chosen.append(near.pop(0) if near and len(near[0]) < chars else self.random.choice(self.short))
        if self.random.random() < 0.5:
            self.random.shuffle(chosen)
        chosen = list(dict.fromkeys(chosen))
        document = "\n\n".join(chosen)
        return self.ask(document, self.random.sample(chosen, min(len(chosen), 8)), self.random.choice((1, 2, 4, 6, 8)))

    def long(self, chars: int) -> Sample:
        """Passages spread through book text, `chars` long in all."""
        chosen = self.random.sample(self.short, 4)
        paragraphs = self.filler(max(chars - sum(map(len, chosen)), 1000)).split("\n")
        for context in chosen:
            paragraphs.insert(self.random.randrange(len(paragraphs) + 1), f"\n{context}\n")
        return self.ask("\n".join(paragraphs), chosen, 6)

    def cloze(self, chars: int) -> Sample:
        """A stretch of a book, of documentation or of code, and clozes on it; some from elsewhere in the same text."""
        text = self.text()
        start = self.random.randrange(max(len(text) - chars, 1))
        document, elsewhere = text[start : start + chars], text[:start] + text[start + chars :]
        here = clozes.usable(document)
        sample = Sample(document.strip())
        for sentence in self.random.sample(here, min(len(here), self.random.choice((1, 2, 4, 6)))):
            if self.random.random() < UNANSWERABLE and (turn := self.foreign(document, elsewhere)):
                sample.turns.append(turn)
            elif made := clozes.make(sentence, self.random):
                sample.turns.append(self.of_cloze(made))
        return sample

    def shown_cloze(self) -> Sample:
        """The beginning of a stretch of text, and clozes that come with a window of it."""
        text = self.text()
        start = self.random.randrange(max(len(text) - 6000, 1))
        stretch = text[start : start + 6000]
        sample = Sample(_opening(stretch, self.random))
        here = clozes.usable(stretch)
        for sentence in self.random.sample(here, min(len(here), self.random.choice((2, 4, 6)))):
            made = clozes.make(sentence, self.random)
            if made is None:
                continue
            turn, window = self.of_cloze(made), _window(stretch, sentence, self.random)
            if self.random.random() < UNANSWERABLE:
                turn = Turn(made.question, self.form.not_found, "cloze")
                window = _window(stretch, self.random.choice(here), self.random)
                if made.answer.lower() in window.lower():
                    continue
            sample.turns.append(self.showing(turn, [window]))
        return sample

    def of_cloze(self, made: clozes.Cloze) -> Turn:
        """The turn of a cloze."""
        return Turn(made.question, self.form.reply.format(quote=made.quote, answer=made.answer), "cloze")

    def foreign(self, document: str, elsewhere: str) -> Turn | None:
        """A cloze on a sentence of the same text that does not stand in the document, nor its answer."""
        start = self.random.randrange(max(len(elsewhere) - 4000, 1))
        away = [s for s in clozes.usable(elsewhere[start : start + 4000]) if s not in document]
        made = clozes.make(self.random.choice(away), self.random) if away else None
        if made is None or made.answer.lower() in document.lower():
            return None
        return Turn(made.question, self.form.not_found, "cloze")

    def text(self) -> str:
        """A book, a page of documentation or a source file."""
        kind = self.random.choices((self.books, self.docs, self.code), (5, 4, 1))[0]
        return self.random.choice(kind)

    def filler(self, chars: int) -> str:
        """A stretch of a book."""
        book = self.random.choice(self.books)
        start = self.random.randrange(max(len(book) - chars, 1))
        return book[start: start + chars]

    def needle(self, chars: int) -> Sample:
        """See `invented`."""
        return invented.needle(self.filler(chars), self.form, self.random)

    def lookup(self, lines: int) -> Sample:
        """See `invented`."""
        return invented.lookup(lines, self.form, self.random)

    def which_file(self, files: int) -> Sample:
        """See `invented`."""
        return invented.which_file(self.random.sample(self.code, files), self.form, self.random)


def _quote_of(turn: Turn) -> str:
    """The words between the quotation marks of a reply."""
    return turn.reply.split('"', 1)[1].rsplit('"\n', 1)[0]


def _opening(text: str, source: random.Random) -> str:
    """The first sentences of a text, as the document that was read before."""
    return "\n".join(sentences(text[: source.randrange(150, 900)])[: source.randint(1, 5)])


def _window(text: str, inside: str, source: random.Random) -> str:
    """A stretch of whole sentences of a text, one to eight, at most 900 characters, that holds `inside` (a verbatim
    piece of it)."""
    at = max(text.find(inside), 0)
    pieces = sentences(text)
    place, where = 0, 0
    for n, piece in enumerate(pieces):
        place = text.find(piece, place)
        if place <= at:
            where = n
        place += len(piece)
    first = max(0, where - source.randint(0, 4))
    last = min(len(pieces), where + 1 + source.randint(0, 4))
    while first < where and sum(map(len, pieces[first:last])) > 900:
        first += 1
    while last > where + 1 and sum(map(len, pieces[first:last])) > 900:
        last -= 1
    start = text.find(pieces[first]) if pieces else 0
    end = text.find(pieces[last - 1], start) + len(pieces[last - 1]) if pieces else len(text)
    window = text[start:end]
    return window if inside in window else inside


def _poor(row: Row, source: random.Random) -> bool:
    """Most Reddit and Amazon rows are left out (the corpus page calls them weaker)."""
    return "new_wiki" not in row["id"] and row["id"].startswith("shift-") and source.random() < 0.7
