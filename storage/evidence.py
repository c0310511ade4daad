"""A full-text index over the passages of each document: which of them hold a question's words.

It is derived from the text and can be dropped and built again at any time, so it has no place in the schema: one FTS5
table for each document (its BM25 then knows how rare a word is in *this* document), made when first needed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from storage.database import Database

TOKENIZE = "porter unicode61 remove_diacritics 2"
"""English stems; case and accents do not count."""


@dataclass(frozen=True)
class Hit:
    """A passage that holds words of the question. score: BM25, higher is better."""

    char_start: int
    char_end: int
    score: float


class PassageIndex:
    """The passages of every document, by their words."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ready(self, document_id: str) -> bool:
        """Whether a document's passages are in the index."""
        with self._database.reading() as session:
            return _exists(session, document_id)

    def build(self, document_id: str, passages: Iterable[tuple[int, int, str]]) -> None:
        """Put a document's passages (char_start, char_end, words) into the index, all or none."""
        rows = [{"start": start, "end": end, "words": words} for start, end, words in passages]
        with self._database.writing() as session:
            if _exists(session, document_id):
                return  # somebody else was quicker
            table = _table(document_id)
            session.execute(text(
                f"CREATE VIRTUAL TABLE {table} USING fts5 "
                f"(words, char_start UNINDEXED, char_end UNINDEXED, tokenize = '{TOKENIZE}')"
            ))
            if rows:
                session.execute(
                    text(f"INSERT INTO {table} (words, char_start, char_end) VALUES (:words, :start, :end)"), rows
                )

    def search(self, document_id: str, words: Sequence[str], limit: int) -> list[Hit]:
        """The passages that hold any of the words, best first (BM25)."""
        if not words:
            return []
        table = _table(document_id)
        found = text(
            f"SELECT char_start, char_end, -bm25({table}) FROM {table} WHERE {table} MATCH :any "
            f"ORDER BY bm25({table}), rowid LIMIT :limit"
        )
        with self._database.reading() as session:
            rows = session.execute(found, {"any": " OR ".join(map(_quoted, words)), "limit": limit}).all()
        return [Hit(*row) for row in rows]

    def spread(self, document_id: str, words: Sequence[str]) -> tuple[int, list[int]]:
        """How many passages the document has, and how many of them hold each of the words."""
        table = _table(document_id)
        holding = text(f"SELECT count(*) FROM {table} WHERE {table} MATCH :word")
        with self._database.reading() as session:
            passages = session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            return passages, [session.execute(holding, {"word": _quoted(word)}).scalar_one() for word in words]

    def remove(self, document_id: str) -> None:
        """Drop a document's passages; none is no error."""
        with self._database.writing() as session:
            session.execute(text(f"DROP TABLE IF EXISTS {_table(document_id)}"))


def _exists(session: Session, document_id: str) -> bool:
    return session.execute(
        text("SELECT count(*) FROM sqlite_master WHERE name = :name"), {"name": _table(document_id)}
    ).scalar_one() > 0


def _table(document_id: str) -> str:
    """The name of a document's table. Raises ValueError for what is no document's id."""
    if not (document_id.isascii() and document_id.isalnum()):
        raise ValueError(f"{document_id!r} is no document's id")
    return f"passages_{document_id}"


def _quoted(word: str) -> str:
    """A word as FTS5 takes it literally."""
    return '"' + word.replace('"', '""') + '"'
