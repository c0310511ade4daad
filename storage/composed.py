"""Answers about several documents together: the question, and what was put together from each document's answer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from storage.database import Database
from storage.documents import find_document
from storage.errors import DatabaseDamaged, NotFound
from storage.schema import ComposedOfRow, ComposedRow


@dataclass(frozen=True)
class ComposedAnswer:
    """A question and what is known of its answer (plain values, kept as JSON). created_at: seconds since 1970.

    intact: false where the row is damaged; there are no facts then.
    """

    id: int
    question: str
    facts: dict[str, Any]
    created_at: float
    intact: bool = True


class ComposedAnswers:
    """The answers of a library, or those that one person asked for."""

    def __init__(self, database: Database, owner: str | None = None) -> None:
        """owner: as for `Documents`."""
        self._database = database
        self._owner = owner

    def add(self, question: str, document_ids: Sequence[str], facts: dict[str, Any]) -> int:
        """Keep an answer; gives its number. It goes with the first of its documents to be removed: it quotes them all.

        Raises NotFound if one of them is gone.
        """
        with self._database.writing() as session:
            for id in document_ids:
                find_document(session, id, self._owner)
            row = ComposedRow(owner=self._owner or "", question=question, created_at=time.time(), facts=facts)
            session.add(row)
            session.flush()
            session.add_all(ComposedOfRow(composed_id=row.id, document_id=id) for id in dict.fromkeys(document_ids))
            return row.id

    def get(self, id: int) -> ComposedAnswer:
        """An answer. Raises NotFound; DatabaseDamaged if it is not what was written."""
        with self._database.reading() as session:
            found = _answer(self._row(session, id))
        if not found.intact:
            raise DatabaseDamaged(f"answer {id} about several documents is damaged: remove it, and ask again")
        return found

    def list(self, most: int | None = None) -> list[ComposedAnswer]:
        """The answers, newest first, at most so many."""
        with self._database.reading() as session:
            return [_answer(row) for row in session.scalars(self._owned().order_by(ComposedRow.id.desc()).limit(most))]

    def remove(self, id: int) -> None:
        """Forget an answer. Raises NotFound."""
        with self._database.writing() as session:
            session.delete(self._row(session, id))

    def _row(self, session: Session, id: int) -> ComposedRow:
        row = session.scalar(self._owned().where(ComposedRow.id == id))
        if row is None:
            raise NotFound(f"no answer {id} about several documents: ask them again")
        return row

    def _owned(self) -> Select[ComposedRow]:
        rows = select(ComposedRow)
        return rows if self._owner is None else rows.where(ComposedRow.owner == self._owner)


def _answer(row: ComposedRow) -> ComposedAnswer:
    return ComposedAnswer(row.id, row.question, row.facts if row.intact else {}, row.created_at, row.intact)
