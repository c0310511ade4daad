"""A full-text index over the passages of each document: which of them hold a question's words.

It is derived from the text and can be dropped and built again at any time, so it has no place in the schema: one table
for each document, made when first needed. In SQLite that is an FTS5 table, whose BM25 then knows how rare a word is in
*this* document; in PostgreSQL a tsvector, which knows no rarity, so its words are weighed here.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from storage.database import Database


@dataclass(frozen=True)
class Hit:
    """A passage that holds words of the question. score: higher is better; BM25, or the like of it in PostgreSQL."""

    char_start: int
    char_end: int
    score: float


class PassageIndex:
    """The passages of every document, by their words: English stems, without regard to case."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kind = _TSVector() if database.engine.dialect.name == "postgresql" else _FTS5()

    def ready(self, document_id: str) -> bool:
        """Whether a document's passages are in the index."""
        with self._database.reading() as session:
            return _exists(session, document_id)

    def build(self, document_id: str, passages: Iterable[tuple[int, int, str]]) -> None:
        """Put a document's passages (char_start, char_end, words) into the index, all or none."""
        rows = [{"start": start, "end": end, "words": _storable(words)} for start, end, words in passages]
        with self._database.writing() as session:
            if _exists(session, document_id):
                return  # somebody else was quicker
            table = _table(document_id)
            session.execute(text(self._kind.create.format(table=table)))
            if rows:
                session.execute(text(self._kind.insert.format(table=table)), rows)

    def search(self, document_id: str, words: Sequence[str], limit: int) -> list[Hit]:
        """The passages that hold any of the words, best first."""
        if not words:
            return []
        with self._database.reading() as session:
            return self._kind.search(session, _table(document_id), [_storable(word) for word in words], limit)

    def spread(self, document_id: str, words: Sequence[str]) -> tuple[int, list[int]]:
        """How many passages the document has, and how many of them hold each of the words."""
        with self._database.reading() as session:
            return self._kind.spread(session, _table(document_id), [_storable(word) for word in words])

    def remove(self, document_id: str) -> None:
        """Drop a document's passages; none is no error."""
        with self._database.writing() as session:
            session.execute(text(f"DROP TABLE IF EXISTS {_table(document_id)}"))


class _FTS5:
    """SQLite's full-text tables."""

    create = (
        "CREATE VIRTUAL TABLE {table} USING fts5 (words, char_start UNINDEXED, char_end UNINDEXED, "
        "tokenize = 'porter unicode61 remove_diacritics 2')"
    )
    insert = "INSERT INTO {table} (words, char_start, char_end) VALUES (:words, :start, :end)"

    def search(self, session: Session, table: str, words: Sequence[str], limit: int) -> list[Hit]:
        found = text(
            f"SELECT char_start, char_end, -bm25({table}) FROM {table} WHERE {table} MATCH :any "
            f"ORDER BY bm25({table}), rowid LIMIT :limit"
        )
        any_of = " OR ".join(map(_quoted, words))
        return [Hit(*row) for row in session.execute(found, {"any": any_of, "limit": limit})]

    def spread(self, session: Session, table: str, words: Sequence[str]) -> tuple[int, list[int]]:
        holding = text(f"SELECT count(*) FROM {table} WHERE {table} MATCH :word")
        passages = session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        return passages, [session.execute(holding, {"word": _quoted(word)}).scalar_one() for word in words]


class _TSVector:
    """PostgreSQL's text search."""

    create = "CREATE TABLE {table} (char_start INTEGER, char_end INTEGER, words TSVECTOR)"
    insert = "INSERT INTO {table} (words, char_start, char_end) VALUES (to_tsvector('english', :words), :start, :end)"

    def search(self, session: Session, table: str, words: Sequence[str], limit: int) -> list[Hit]:
        passages, spread = self.spread(session, table, words)
        weights = [math.log(1 + (passages - n + 0.5) / (n + 0.5)) for n in spread]
        held = [f"ts_rank(words, plainto_tsquery('english', :word{n}), 1)" for n in range(len(words))]
        has = [f"(words @@ plainto_tsquery('english', :word{n}))::int" for n in range(len(words))]
        score = " + ".join(f":weight{n} * {has[n]} * (1 + {held[n]})" for n in range(len(words)))
        found = text(
            f"SELECT * FROM (SELECT char_start, char_end, {score} AS score FROM {table}) AS scored "
            "WHERE score > 0 ORDER BY score DESC, char_start LIMIT :limit"
        )
        values = {f"word{n}": word for n, word in enumerate(words)} | {f"weight{n}": w for n, w in enumerate(weights)}
        return [Hit(*row) for row in session.execute(found, values | {"limit": limit})]

    def spread(self, session: Session, table: str, words: Sequence[str]) -> tuple[int, list[int]]:
        holding = text(f"SELECT count(*) FROM {table} WHERE words @@ plainto_tsquery('english', :word)")
        passages = session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        return passages, [session.execute(holding, {"word": word}).scalar_one() for word in words]


def _exists(session: Session, document_id: str) -> bool:
    return inspect(session.connection()).has_table(_table(document_id))


def _table(document_id: str) -> str:
    """The name of a document's table. Raises ValueError for what is no document's id."""
    if not (document_id.isascii() and document_id.isalnum()):
        raise ValueError(f"{document_id!r} is no document's id")
    return f"passages_{document_id}"


def _quoted(word: str) -> str:
    """A word as FTS5 takes it literally."""
    return '"' + word.replace('"', '""') + '"'


def _storable(words: str) -> str:
    """Words without what a database cannot hold: NUL, and halves of surrogate pairs."""
    return words.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
