"""The file itself: creation, versions, damage, locks, limits."""

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from storage.conversations import Conversations
from storage.database import Database
from storage.documents import Document, Documents
from storage.errors import DatabaseDamaged, DatabaseTooNew, StorageError, StorageFull
from storage.migrations import MIGRATIONS
from storage.schema import Base
from storage.sqlite import PAGE_SIZE, journal_mode
from tests.storage.conftest import on_every_use


def _tables(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """What SQLite knows of each table: columns, foreign keys, indexes with their columns."""
    with engine.connect() as connection:

        def ask(statement: str) -> list[tuple[object, ...]]:
            return sorted((tuple(row) for row in connection.exec_driver_sql(statement)), key=repr)

        return {
            table: [
                *ask(f'SELECT name, type, "notnull", pk FROM pragma_table_info(\'{table}\')'),
                *ask(f"PRAGMA foreign_key_list({table})"),
                *ask(
                    "SELECT replace(l.name, 'sqlite_autoindex_', ''), l.\"unique\", group_concat(i.name) "
                    f"FROM pragma_index_list('{table}') l, pragma_index_info(l.name) i GROUP BY l.name"
                ),
            ]
            for (table,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").all()
        }


def test_migrations_make_the_tables_of_the_schema(database: Database, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'declared.sqlite'}")
    Base.metadata.create_all(engine)
    assert _tables(database.engine) == _tables(engine)
    engine.dispose()


def test_every_foreign_key_cascades_and_is_indexed(database: Database) -> None:
    with database.engine.connect() as connection:
        for table in Base.metadata.tables:
            for key in connection.exec_driver_sql(f"PRAGMA foreign_key_list({table})").mappings():
                assert key["on_delete"] == "CASCADE"
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE {key['from']} = 1")
                assert "USING" in plan.mappings().one()["detail"], table


def test_settings_of_the_file(database: Database) -> None:
    with database.engine.connect() as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_size", "auto_vacuum", "synchronous", "foreign_keys", "user_version", "journal_mode")
        ]
    assert settings == [PAGE_SIZE, 2, 3, 1, len(MIGRATIONS), journal_mode(sqlite3.sqlite_version_info).lower()]


def test_write_ahead_log_only_where_it_is_safe() -> None:
    assert journal_mode((3, 40, 1)) == "DELETE"
    assert journal_mode((3, 51, 2)) == "DELETE"
    assert journal_mode((3, 51, 3)) == "WAL"


def test_works_with_a_write_ahead_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 51, 3))
    database = Database(path)
    documents = Documents(database)
    kept = documents.add("b", "text", "kept", [], [], None)
    removed = documents.add("a", "text", "x" * 3_000_000, [], [], None)
    documents.remove(removed.id)
    assert path.stat().st_size < 1_000_000
    database.close()
    monkeypatch.undo()
    reopened = Database(path)
    assert Documents(reopened).text(kept.id) == "kept"
    reopened.close()


def _edit(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_newer_database_is_refused_and_left_alone(database: Database, path: Path) -> None:
    database.close()
    _edit(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(DatabaseTooNew, match="upgrade Onceread"):
        Database(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(path: Path) -> None:
    _edit(path, "CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(DatabaseDamaged, match="another program"):
        Database(path)


@pytest.mark.parametrize("content", [b"hello", b"not a database at all " * 1000])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged, match="no database"):
        Database(path)
    assert path.read_bytes() == content


def test_a_truncated_file_is_named_damaged(database: Database, path: Path) -> None:
    id = Documents(database).add("a", "text", "x" * 500_000, [], [], None).id
    database.close()
    path.write_bytes(path.read_bytes()[: 20 * PAGE_SIZE])
    with pytest.raises(DatabaseDamaged, match="is damaged"), closing(Database(path)) as damaged:
        Documents(damaged).text(id)


def test_a_path_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        Database(tmp_path / "missing" / "library.sqlite")
    with pytest.raises(StorageError, match="cannot be opened"):
        Database(tmp_path)


def test_a_read_only_database_can_be_read_and_says_so_on_writing(database: Database, document: Document) -> None:
    on_every_use(database, "query_only = ON")
    documents = Documents(database)
    assert documents.text(document.id) == "Once upon a time"
    with pytest.raises(StorageError, match=r"read-only: make the file and its folder writable$"):
        documents.rename(document.id, "Another")


def test_a_full_disk_loses_nothing_and_can_be_gone_on_from(database: Database, document: Document) -> None:
    documents = Documents(database)
    on_every_use(database, "max_page_count = 40")
    with pytest.raises(StorageFull, match="free some space and run the same command again; what was saved so far"):
        documents.add("large", "text", "x" * 2_000_000, [], [], None)
    assert [d.id for d in documents.list()] == [document.id]
    on_every_use(database, "max_page_count = 10000")
    assert documents.add("large", "text", "x" * 2_000_000, [], [], None).chars == 2_000_000


HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("UPDATE documents SET kind = 'seen', checksum = ''")
connection.execute("COMMIT")
"""


def _hold(path: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_waits_for_the_first(database: Database, document: Document, path: Path) -> None:
    with _hold(path, 0.7) as process:
        started = time.perf_counter()
        Documents(database).rename(document.id, "After")
        assert time.perf_counter() - started > 0.3
        assert process.wait() == 0
    changed = Documents(database).get(document.id)
    assert (changed.title, changed.kind) == ("After", "seen")


def test_waiting_ends_with_a_line_in_words(database: Database, document: Document, path: Path) -> None:
    impatient = Database(path, wait_seconds=0.1)
    with _hold(path, 1.0), pytest.raises(StorageError, match="another Onceread was busy"):
        Documents(impatient).rename(document.id, "Never")
    impatient.close()


def test_many_threads_write_at_once_and_nothing_is_lost(database: Database, document: Document) -> None:
    conversations = Conversations(database)

    def talk() -> None:
        for _ in range(5):
            conversations.start(document.id, "from a thread")

    threads = [threading.Thread(target=talk) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(conversations.list(document.id)) == 30


def test_two_libraries_may_create_the_same_file_at_once(path: Path) -> None:
    opened: list[Database] = []
    threads = [threading.Thread(target=lambda: opened.append(Database(path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    for database in opened:
        assert Documents(database).list() == []
        database.close()
