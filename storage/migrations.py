"""The steps from an empty database to the current schema, in order. A released step is never edited: add another.

A step describes its tables for itself, as they were then, so that `schema.py` can move on; it must run on SQLite and on
PostgreSQL. The database says which steps it has had: in SQLite's header (`PRAGMA user_version`, with `PRAGMA
application_id` for whose file it is), in PostgreSQL in a table of one row.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    select,
)
from sqlalchemy.schema import CreateColumn

from storage.errors import DatabaseDamaged, DatabaseTooNew
from storage.seals import seal, seal_before_blocks

APPLICATION_ID = 0x4F6E6365  # "Once"

VERSION_TABLE = "onceread_version"
"""Where PostgreSQL keeps the number of steps taken."""


def _text(name: str, primary_key: bool = False, unique: bool | None = None) -> Column[str]:
    return Column(name, Text, primary_key=primary_key, unique=unique, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _time(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _owner(table: str, name: str, primary_key: bool = False, index: bool = False) -> Column[str]:
    """A column that refers to a row of `table`, and goes with it."""
    to = ForeignKey(f"{table}.id", ondelete="CASCADE")
    return Column(name, to, primary_key=primary_key, index=index, nullable=False)


def _add(connection: Connection, table: str, column: Column[Any]) -> None:
    """Add a column to a table there is."""
    Table(table, MetaData(), column)
    described = CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {described}")


def _first_tables(connection: Connection) -> None:
    new = MetaData()
    Table(
        "documents", new, _text("id", primary_key=True), _text("title"), _text("kind"), _text("text_hash", unique=True),
        _number("chars"), Column("tokens", Integer), Column("pages", Integer), _time("created_at"),
        _time("last_used_at"),
    )
    Table(
        "contents", new, _owner("documents", "document_id", primary_key=True), _text("segments"), _text("skipped"),
        Column("text", LargeBinary, nullable=False),
    )
    Table(
        "snapshots", new, _id(), _owner("documents", "document_id"), _text("model"), _text("tokenizer"),
        _text("prompt_format"), _text("prefix"), _number("format"), _number("tokens"),
        Column("complete", Boolean, nullable=False), _number("bytes"), _time("created_at"), _time("last_used_at"),
        _text("seal"), UniqueConstraint("document_id", "model", "tokenizer", "prompt_format", "prefix"),
    )
    Table(
        "tensors", new, _id(), _owner("snapshots", "snapshot_id"), _text("name"), _text("dtype"), _text("shape"),
        _number("length"), _text("checksum"), Column("data", LargeBinary, nullable=False),
        UniqueConstraint("snapshot_id", "name"),
    )
    Table(
        "conversations", new, _id(), _owner("documents", "document_id", index=True), _text("title"),
        _time("created_at"),
    )
    Table(
        "messages", new, _id(), _owner("conversations", "conversation_id", index=True), _text("role"),
        _time("created_at"), _text("text"), Column("facts", JSON, nullable=False),
    )
    Table(
        "jobs", new, _owner("documents", "document_id", primary_key=True), _text("state"), _number("done"),
        _number("total"), Column("error", Text), _time("seconds"), _time("updated_at"),
    )
    Table(
        "cells", new, _text("key", primary_key=True), _owner("documents", "document_id", index=True),
        _text("question_id"), _text("state"), Column("answer", JSON, nullable=False),
    )
    new.create_all(connection)


def _people(connection: Connection) -> None:
    _add(connection, "documents", Column("owner", Text, server_default="", nullable=False))
    new = MetaData()
    Table(
        "people", new, _text("name", primary_key=True), _text("password"), _time("created_at"),
        Column("preferences", JSON, nullable=False),
    )
    Table(
        "sign_ins", new, _text("token_hash", primary_key=True),
        Column("person", ForeignKey("people.name", ondelete="CASCADE"), index=True, nullable=False),
        _time("expires_at"),
    )
    new.create_all(connection)


def _pace(connection: Connection) -> None:
    _add(connection, "jobs", Column("pace", JSON))
    _add(connection, "documents", Column("resume_seconds", Double))


def _outlines_and_origins(connection: Connection) -> None:
    for name in ("origin", "digest"):
        _add(connection, "documents", Column(name, Text, server_default="", nullable=False))
    new = MetaData()
    Table("documents", new, _text("id", primary_key=True))  # there already: only referred to
    Table("outlines", new, _owner("documents", "document_id", primary_key=True), _text("headings"))
    new.create_all(connection)


def _blocks(connection: Connection) -> None:
    """States become chains of blocks that documents share. A finished state of before becomes one block; one of an
    unfinished reading does not say which tokens it holds, and is read again."""
    for table in ("snapshots", "tensors"):
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO old_{table}")
    new = MetaData()
    Table("documents", new, _text("id", primary_key=True))  # there already: only referred to
    blocks = Table(
        "blocks", new, _id(),
        Column("parent_id", ForeignKey("blocks.id", ondelete="CASCADE"), index=True), _text("kind"), _text("model"),
        _text("tokenizer"), _text("prompt_format"), _text("prefix"), _number("format"), _number("tokens"),
        Column("bytes", BigInteger, nullable=False), _time("created_at"), _time("last_used_at"), _text("seal"),
        UniqueConstraint("prefix", "kind", "model", "tokenizer", "prompt_format"),
    )
    readings = Table(
        "readings", new, _owner("documents", "document_id", primary_key=True),
        _owner("blocks", "block_id", primary_key=True, index=True), Column("complete", Boolean, nullable=False),
    )
    Table(
        "tensors", new, _id(), _owner("blocks", "block_id"), _text("name"), _text("dtype"), _text("shape"),
        _text("encoding"), _number("length"), _text("checksum"), Column("data", LargeBinary, nullable=False),
        UniqueConstraint("block_id", "name"),
    )
    Table("leases", new, _text("name", primary_key=True), _text("owner"), _time("expires_at"))
    Table(
        "evictions", new, _owner("documents", "document_id", primary_key=True),
        Column("bytes", BigInteger, nullable=False), _number("tokens"), _time("evicted_at"),
    )
    new.create_all(connection)
    old = MetaData()
    old_states = Table("old_snapshots", old, autoload_with=connection)
    old_rows = Table("old_tensors", old, autoload_with=connection)
    seen: set[tuple[str, ...]] = set()
    for row in connection.execute(select(old_states).where(old_states.c.complete).order_by(old_states.c.id)).all():
        key = (row.model, row.tokenizer, row.prompt_format, row.prefix)
        if key in seen:
            continue  # two documents with the same text: one state serves both
        seen.add(key)
        pairs = select(old_rows.c.name, old_rows.c.checksum).where(old_rows.c.snapshot_id == row.id)
        sums = dict(connection.execute(pairs).tuples().all())
        sound = row.seal == seal_before_blocks([row.document_id, *key, row.tokens, row.complete], sums)
        facts = ["state", *key, 1, row.tokens]
        connection.execute(blocks.insert().values(
            id=row.id, parent_id=None, kind="state", model=key[0], tokenizer=key[1], prompt_format=key[2],
            prefix=key[3], format=1, tokens=row.tokens, bytes=row.bytes, created_at=row.created_at,
            last_used_at=row.last_used_at, seal=seal(facts, sums, "") if sound else row.seal,
        ))
        connection.execute(readings.insert().values(document_id=row.document_id, block_id=row.id, complete=True))
    connection.exec_driver_sql(
        "INSERT INTO tensors (id, block_id, name, dtype, shape, encoding, length, checksum, data) "
        "SELECT id, snapshot_id, name, dtype, shape, 'raw', length, checksum, data FROM old_tensors "
        "WHERE snapshot_id IN (SELECT id FROM blocks)"
    )
    old_rows.drop(connection)
    old_states.drop(connection)


def _reports(connection: Connection) -> None:
    """Cells get claims and report jobs a table. Earlier cells had keys of another make that nothing asks for now."""
    connection.exec_driver_sql("DROP TABLE cells")
    new = MetaData()
    Table("documents", new, _text("id", primary_key=True))  # there already: only referred to
    Table(
        "cells", new, _text("key", primary_key=True),
        Column("document_id", ForeignKey("documents.id", ondelete="CASCADE"), index=True), _text("question_id"),
        _text("state_key"), _text("cell_hash"), _text("state"), Column("worker", Text, index=True, nullable=False),
        _time("lease_until"), _time("seconds"), _time("answered_at"), Column("quote", Text), Column("place", Text),
        Column("settings", JSON, nullable=False), Column("answer", JSON, nullable=False),
    )
    Table(
        "reports", new, _text("id", primary_key=True), _text("owner"), _text("title"), _text("state"),
        _number("done"), _number("total"), _number("failed"), Column("error", Text), _time("created_at"),
        _time("updated_at"), Column("spec", JSON, nullable=False),
    )
    new.create_all(connection)


def _checksums(connection: Connection) -> None:
    for table in ("contents", "messages"):
        _add(connection, table, Column("checksum", Text, server_default="", nullable=False))


def _more_checksums(connection: Connection) -> None:
    for table in ("documents", "outlines", "conversations", "cells"):
        _add(connection, table, Column("checksum", Text, server_default="", nullable=False))


def _composed(connection: Connection) -> None:
    new = MetaData()
    Table("documents", new, _text("id", primary_key=True))  # there already: only referred to
    Table(
        "composed", new, _id(), Column("owner", Text, index=True, nullable=False), _text("question"),
        _time("created_at"), Column("checksum", Text, server_default="", nullable=False),
        Column("facts", JSON, nullable=False),
    )
    Table(
        "composed_of", new, _owner("composed", "composed_id", primary_key=True),
        _owner("documents", "document_id", primary_key=True, index=True),
    )
    new.create_all(connection)


def _what_is_done_now(connection: Connection) -> None:
    _add(connection, "jobs", Column("waiting", Text))
    _add(connection, "reports", Column("doing", Text))


MIGRATIONS: list[Callable[[Connection], None]] = [
    _first_tables, _people, _pace, _outlines_and_origins, _blocks, _reports, _checksums, _more_checksums,
    _composed, _what_is_done_now,
]


def version(connection: Connection, place: object) -> int:
    """How many steps the database has had. Raises DatabaseTooNew, and DatabaseDamaged for another program's."""
    number, ours = _sqlite(connection) if connection.dialect.name == "sqlite" else _postgres(connection)
    if not ours and (number or inspect(connection).get_table_names()):
        raise DatabaseDamaged(f"{place} is another program's database: choose another data folder (ONCEREAD_HOME)")
    if number > len(MIGRATIONS):
        raise DatabaseTooNew(
            f"{place} was written by a newer Onceread (schema {number}, this one knows {len(MIGRATIONS)}): "
            "upgrade Onceread, or choose another data folder (ONCEREAD_HOME)"
        )
    return number


def migrate(connection: Connection, place: object) -> None:
    """Take the steps still missing, in the caller's transaction."""
    for step in MIGRATIONS[version(connection, place) :]:
        step(connection)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version = {len(MIGRATIONS)}")
    else:
        connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (steps INTEGER NOT NULL)")
        connection.exec_driver_sql(f"DELETE FROM {VERSION_TABLE}")
        connection.exec_driver_sql(f"INSERT INTO {VERSION_TABLE} VALUES ({len(MIGRATIONS)})")


def _sqlite(connection: Connection) -> tuple[int, bool]:
    """Steps taken, and whether the file is ours."""
    number, owner = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()) for name in ("user_version", "application_id")
    )
    if owner not in (0, APPLICATION_ID):
        return max(number, 1), False
    return number, owner == APPLICATION_ID


def _postgres(connection: Connection) -> tuple[int, bool]:
    if not inspect(connection).has_table(VERSION_TABLE):
        return 0, False
    return int(connection.exec_driver_sql(f"SELECT steps FROM {VERSION_TABLE}").scalar_one()), True
