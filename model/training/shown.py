"""Turns that come with evidence: windows of passages between a question and its repetition, as the app shows them.

The right passage, passages that only look like it, or both; a near miss of a question beside the question itself; a
wrong quote put before the model, to answer nevertheless; lines of code under their file's header.
"""

from __future__ import annotations

import random

from model.training import calls, clozes
from model.training.asking import Asker
from model.training.pools import Row
from model.training.quotes import sentences, words
from model.training.tasks import Turn

UNANSWERABLE = 0.28
"""How often the evidence of a cloze lacks the answer."""
CONTRASTED, ABSENT = 0.5, 0.08
"""How often a row becomes a question beside a near miss, or either of them alone; how often its evidence is wrong."""
NEAR = 0.5
"""How often a row whose passage has questions of `pools.NEAR` gives way to one that the passage answers and one that it
does not, or to either of them."""
HARD = 0.25
"""How often a row whose passage has questions without an answer gives way to one of them, or comes beside it."""
MISLED = 0.08
"""How often a reply has the wrong quote put before the model."""
OPTIONS = 0.05
"""How often a question names the answers to choose from."""
LONGEST_WINDOW = 900
"""Characters."""
EXCERPT, EXCERPTS = 220, 0.5
"""Characters of a short window, of which the app shows three or so of a longer text; how often samples have those."""


class Shown:
    """Makes turns with evidence."""

    def __init__(self, asker: Asker) -> None:
        self.asker, self.pools, self.form, self.random = asker, asker.pools, asker.form, asker.random

    def of_row(self, row: Row, near: list[str]) -> list[Turn]:
        """One turn or two about a question row. near: the passages of its document."""
        twin = self.pools.pair(row["context"]) if self.random.random() < NEAR else None
        row = twin[0] if twin else row
        turn = self.asker.answerable(row)
        if turn is None:
            return []
        quote = _quote_of(turn)
        short = self.random.random() < EXCERPTS
        most = EXCERPT if short else LONGEST_WINDOW
        right = window(row["context"], quote, self.random, most)
        wrong = self.misleading(row, near, self.random.choice((1, 2, 2, 3) if short else (0, 0, 1, 2)), most)
        kind = self.random.random()
        known = [twin[1]] if twin else self.pools.negatives.get(row["context"])
        if (twin or self.random.random() < HARD) and (hard := self.hard(row, known, most)):
            windows = [right, *hard[1]]
            both = [self.showing(hard[0], windows), self.showing(turn, windows)]
            return self.random.sample(both, self.random.choice((1, 2)))
        if kind < CONTRASTED and (pair := self.contrasted(row, wrong, most)):
            return pair
        if CONTRASTED <= kind < CONTRASTED + ABSENT:
            wrong = wrong or self.misleading(row, near, 1, most)
            return [self.showing(self.asker.refusing(row["question"], row["id"]), wrong)] if wrong else []
        if self.random.random() < OPTIONS:
            turn = self.with_options(turn, row)
        turn = self.showing(turn, [right, *wrong])
        return [self.misled(turn, quote) if kind > 1 - MISLED else turn]

    def contrasted(self, row: Row, wrong: list[str], most: int) -> list[Turn]:
        """A question that a passage answers and one that it nearly answers, with the same evidence, or one of the two;
        nothing where a row cannot be contrasted. wrong: windows of other passages."""
        made = self.asker.contrast(row)
        turn = self.asker.answerable(made[0]) if made else None
        if made is None or turn is None:
            return []
        windows = [window(made[0]["context"], _quote_of(turn), self.random, most), *wrong]
        both = [self.showing(made[1], windows), self.showing(turn, windows)]
        return self.random.sample(both, self.random.choice((1, 2)))

    def hard(self, row: Row, known: list[Row] | None, most: int) -> tuple[Turn, list[str]] | None:
        """A refusal of one of the questions that a row's passage is known not to answer, and the part of the passage
        that looks like its answer; None where there is no such question."""
        if not known:
            return None
        other = self.random.choice(known)
        asked = words(other["question"])
        near = max(sentences(row["context"]), key=lambda s: len(words(s) & asked), default="")
        return (self.asker.refusing(other["question"], other["id"]),
                [window(row["context"], near, self.random, most)])

    def of_cloze(self, sentence: str, stretch: str, others: list[str]) -> Turn | None:
        """A cloze on a sentence of a stretch of text, or None. others: sentences to show instead of the right one."""
        made = clozes.make(sentence, self.random)
        if made is None:
            return None
        if self.random.random() < UNANSWERABLE:
            shown = window(stretch, self.random.choice(others), self.random)
            if made.answer.lower() in shown.lower():
                return None
            return self.showing(self.asker.refusing(made.question, "cloze"), [shown])
        turn = self.asker.quoting(made.question, made.quote, made.answer, "cloze")
        return self.showing(turn, [window(stretch, sentence, self.random)])

    def of_code(self, path: str, text: str) -> Turn | None:
        """A question on a file of code: where something is defined, or what calls it. The quote is given, with what
        stands above it, as the app gives it; what is learned is the answer."""
        defined = self.random.random() < 0.5
        found = calls.definition(path, text, self.random) if defined else calls.call(text, self.random)
        if found is None:
            return None
        turn = self.showing(
            self.asker.quoting(found.question, found.quote, found.answer, "code"), [f"# File: {path}\n{found.shown}"]
        )
        return Turn(turn.question, turn.reply, turn.source, turn.shown, len(turn.reply) - len(found.answer) - 1)

    def with_options(self, turn: Turn, row: Row) -> Turn:
        """A turn whose answer is one of several that its question names, as a report's column may."""
        answer = turn.reply.rsplit("\n", 1)[1].split(" ", 1)[1]
        other = [name for name in self.pools.names[row["doc"]] if name.lower() not in answer.lower()]
        if len(answer.split()) > 5 or len(other) < 3:
            return turn
        options = [answer, *self.random.sample(other, self.random.choice((1, 2, 3)))]
        self.random.shuffle(options)
        question = f"{turn.question.strip()} {self.form.options.format(options='; '.join(options))}"
        return Turn(question, turn.reply, turn.source, turn.shown)

    def misleading(self, row: Row, near: list[str], count: int, most: int = LONGEST_WINDOW) -> list[str]:
        """Windows of other passages of the document around sentences that share words with the question, of at most so
        many characters."""
        asked, answers = words(row["question"]), [a.lower() for a in row["answers"]]
        others = [c for c in self.random.sample(near, min(len(near), 5)) if c != row["context"]]
        if self.random.random() < 0.1 or not others:
            others.append(self.pools.short())
        found = [(len(words(s) & asked), c, s) for c in others for s in sentences(c)]
        found.sort(key=lambda each: -each[0])
        windows = [window(c, s, self.random, most) for _, c, s in found[: count + 1]]
        return [w for w in windows if not any(a in w.lower() for a in answers)][:count]

    def showing(self, turn: Turn, windows: list[str]) -> Turn:
        """A turn with windows as its evidence, in any order."""
        windows = self.random.sample(windows, len(windows))
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


def opening(text: str, source: random.Random) -> str:
    """The first sentences of a text, as the document that was read before."""
    return "\n".join(sentences(text[: source.randrange(150, 900)])[: source.randint(1, 5)])


def window(text: str, inside: str, source: random.Random, most: int = LONGEST_WINDOW) -> str:
    """A stretch of whole sentences of a text that holds `inside` (a verbatim piece of it): one to eight, with at most
    `most` characters unless one has more."""
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
    while first < where and len(" ".join(pieces[first:last])) > most:
        first += 1
    while last > where + 1 and len(" ".join(pieces[first:last])) > most:
        last -= 1
    start = text.find(pieces[first]) if pieces else 0
    end = text.find(pieces[last - 1], start) + len(pieces[last - 1]) if pieces else len(text)
    stretch = text[start:end]
    return stretch if inside in stretch else inside


def _quote_of(turn: Turn) -> str:
    """The words between the quotation marks of a reply."""
    return turn.reply.split('"', 1)[1].rsplit('"\n', 1)[0]
