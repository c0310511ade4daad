"""The steps from an empty file to the current schema, in order. A released step is never edited: add another.

The file says which steps it has had (`PRAGMA user_version`) and that it is ours (`PRAGMA application_id`).
"""

from collections.abc import Callable

from sqlalchemy import Connection

from storage.errors import DatabaseDamaged, DatabaseTooNew

APPLICATION_ID = 0x4F6E6365  # "Once"


def _first_tables(connection: Connection) -> None:
    document = "document_id TEXT NOT NULL {}REFERENCES documents (id) ON DELETE CASCADE"
    for statement in (
        "CREATE TABLE documents (id TEXT NOT NULL PRIMARY KEY, title TEXT NOT NULL, kind TEXT NOT NULL, "
        "text_hash TEXT NOT NULL UNIQUE, chars INTEGER NOT NULL, tokens INTEGER, pages INTEGER, "
        "created_at DOUBLE NOT NULL, last_used_at DOUBLE NOT NULL)",
        f"CREATE TABLE contents ({document.format('PRIMARY KEY ')}, segments TEXT NOT NULL, skipped TEXT NOT NULL, "
        "text BLOB NOT NULL)",
        f"CREATE TABLE snapshots (id INTEGER NOT NULL PRIMARY KEY, {document.format('')}, model TEXT NOT NULL, "
        "tokenizer TEXT NOT NULL, prompt_format TEXT NOT NULL, prefix TEXT NOT NULL, format INTEGER NOT NULL, "
        "tokens INTEGER NOT NULL, complete BOOLEAN NOT NULL, bytes INTEGER NOT NULL, created_at DOUBLE NOT NULL, "
        "last_used_at DOUBLE NOT NULL, seal TEXT NOT NULL, "
        "UNIQUE (document_id, model, tokenizer, prompt_format, prefix))",
        "CREATE TABLE tensors (id INTEGER NOT NULL PRIMARY KEY, "
        "snapshot_id INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE, name TEXT NOT NULL, "
        "dtype TEXT NOT NULL, shape TEXT NOT NULL, length INTEGER NOT NULL, checksum TEXT NOT NULL, "
        "data BLOB NOT NULL, UNIQUE (snapshot_id, name))",
        f"CREATE TABLE conversations (id INTEGER NOT NULL PRIMARY KEY, {document.format('')}, title TEXT NOT NULL, "
        "created_at DOUBLE NOT NULL)",
        "CREATE INDEX ix_conversations_document_id ON conversations (document_id)",
        "CREATE TABLE messages (id INTEGER NOT NULL PRIMARY KEY, "
        "conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE, role TEXT NOT NULL, "
        "created_at DOUBLE NOT NULL, text TEXT NOT NULL, facts JSON NOT NULL)",
        "CREATE INDEX ix_messages_conversation_id ON messages (conversation_id)",
        f"CREATE TABLE jobs ({document.format('PRIMARY KEY ')}, state TEXT NOT NULL, done INTEGER NOT NULL, "
        "total INTEGER NOT NULL, error TEXT, seconds DOUBLE NOT NULL, updated_at DOUBLE NOT NULL)",
        f"CREATE TABLE cells (key TEXT NOT NULL PRIMARY KEY, {document.format('')}, question_id TEXT NOT NULL, "
        "state TEXT NOT NULL, answer JSON NOT NULL)",
        "CREATE INDEX ix_cells_document_id ON cells (document_id)",
    ):
        connection.exec_driver_sql(statement)


def _people(connection: Connection) -> None:
    for statement in (
        "ALTER TABLE documents ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
        "CREATE TABLE people (name TEXT NOT NULL PRIMARY KEY, password TEXT NOT NULL, created_at DOUBLE NOT NULL, "
        "preferences JSON NOT NULL)",
        "CREATE TABLE sign_ins (token_hash TEXT NOT NULL PRIMARY KEY, "
        "person TEXT NOT NULL REFERENCES people (name) ON DELETE CASCADE, expires_at DOUBLE NOT NULL)",
        "CREATE INDEX ix_sign_ins_person ON sign_ins (person)",
    ):
        connection.exec_driver_sql(statement)


def _pace(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE jobs ADD COLUMN pace JSON")
    connection.exec_driver_sql("ALTER TABLE documents ADD COLUMN resume_seconds DOUBLE")


def _outlines_and_origins(connection: Connection) -> None:
    for statement in (
        "ALTER TABLE documents ADD COLUMN origin TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE documents ADD COLUMN digest TEXT NOT NULL DEFAULT ''",
        "CREATE TABLE outlines (document_id TEXT NOT NULL PRIMARY KEY REFERENCES documents (id) ON DELETE CASCADE, "
        "headings TEXT NOT NULL)",
    ):
        connection.exec_driver_sql(statement)


MIGRATIONS: list[Callable[[Connection], None]] = [_first_tables, _people, _pace, _outlines_and_origins]


def is_current(connection: Connection, path: object) -> bool:
    """Whether the file has had every step. Raises DatabaseTooNew, and DatabaseDamaged for another program's file."""
    version = _number(connection, "PRAGMA user_version")
    owner = _number(connection, "PRAGMA application_id")
    if owner != APPLICATION_ID and (owner or version or _number(connection, "SELECT count(*) FROM sqlite_master")):
        raise DatabaseDamaged(f"{path} is another program's database: choose another data folder (ONCEREAD_HOME)")
    if version > len(MIGRATIONS):
        raise DatabaseTooNew(
            f"{path} was written by a newer Onceread (schema {version}, this one knows {len(MIGRATIONS)}): "
            "upgrade Onceread, or choose another data folder (ONCEREAD_HOME)"
        )
    return version == len(MIGRATIONS)


def migrate(connection: Connection, path: object) -> None:
    """Take the steps still missing, in the caller's transaction."""
    if is_current(connection, path):
        return
    for step in MIGRATIONS[_number(connection, "PRAGMA user_version") :]:
        step(connection)
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _number(connection: Connection, statement: str) -> int:
    return int(connection.exec_driver_sql(statement).scalar_one())
