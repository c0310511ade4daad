"""Turns from question rows: answered with a quote, or refused because the document does not hold the answer."""

from __future__ import annotations

from model.training import contrasts
from model.training.lessons import literal
from model.training.pools import Pools, Row
from model.training.quotes import quote_for
from model.training.tasks import PromptForm, Turn


class Asker:
    """Makes turns of the pools' rows."""

    def __init__(self, pools: Pools, form: PromptForm) -> None:
        self.pools, self.form, self.random = pools, form, pools.random

    def answerable(self, row: Row) -> Turn | None:
        """A turn for a question row whose quote can be found in its context, else None."""
        literal = [a for a in row["answers"] if a in row["context"]]
        answer = (literal or row["answers"])[0].strip()
        quote = quote_for(row["context"], row["question"], answer, whole=self.random.random() < 0.5)
        return None if quote is None else self.quoting(row["question"], quote, answer, row["id"])

    def quoting(self, question: str, quote: str, answer: str, source: str) -> Turn:
        """A turn that is answered behind a quote."""
        return Turn(question, self.form.reply.format(quote=quote, answer=answer), source)

    def refusing(self, question: str, source: str) -> Turn:
        """A turn that is refused."""
        return Turn(question, self.form.not_found, source)

    def unanswerable(self, document: str, docs: set[str]) -> Turn | None:
        """A turn whose question belongs to another passage of the same documents."""
        near = list(self.pools.negatives.get(document, []))
        if not near or self.random.random() < 0.4:
            others = [c for d in sorted(docs) for c in self.pools.by_doc[d] if c not in document]
            if others:
                near = self.pools.of_context[self.random.choice(others)]
        if not near:
            return None
        row = self.random.choice(near)
        if any(a.lower() in document.lower() for a in row["answers"]):
            return None
        return self.refusing(row["question"], row["id"])

    def nearly(self, row: Row, document: str) -> Turn | None:
        """A turn whose question is a row's with one thing changed, so that the document does not answer it."""
        made = self._contrast(row, document, fixed=True)
        return self.refusing(made.missed, row["id"]) if made else None

    def contrast(self, row: Row) -> tuple[Row, Turn] | None:
        """A row like this one, with another question or another passage, and a refusal of a question that this passage
        nearly answers."""
        made = self._contrast(row, row["context"], fixed=not literal(row))  # other words would not change with it
        if made is None:
            return None
        return {**row, "context": made.passage, "question": made.answered}, self.refusing(made.missed, row["id"])

    def _contrast(self, row: Row, document: str, fixed: bool = False) -> contrasts.Contrast | None:
        names = self.pools.names[row["doc"]]
        return contrasts.make(row["question"], document, literal(row), names, self.random, fixed)
