"""One SQLite file: opening it, sessions on it, and its errors in words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from storage import migrations
from storage.errors import DatabaseDamaged, StorageError, StorageFull

PAGE_SIZE = 16384
"""Bytes. Measured with 90 blobs of 3 MiB: 4 KiB pages write in 0.53 s, read in 85 ms; 16 KiB 0.42 s, 72 ms; 32 and
64 KiB are no better than 16, and waste more on small rows."""

WAL_SAFE = (3, 51, 3)
"""Older versions can corrupt a write-ahead log that two connections share."""

FULL = "the disk is full: free some space and run the same command again; what was saved so far is kept"


def journal_mode(version: tuple[int, ...]) -> str:
    """The journal to use with this version of SQLite."""
    return "WAL" if version >= WAL_SAFE else "DELETE"


class Database:
    """An open library file; may be used from several threads and next to other processes."""

    def __init__(self, path: Path, wait_seconds: float = 30.0) -> None:
        """Open `path`, creating or upgrading it. wait_seconds: how long to wait for another process's transaction.

        Raises DatabaseTooNew, DatabaseDamaged, StorageFull, StorageError.
        """
        self.path = path
        self._wait = wait_seconds
        self.engine = _engine(path, wait_seconds)
        self._writer = self.engine.execution_options(begin="IMMEDIATE")
        try:
            with self._explained():
                with self.engine.connect() as connection:
                    current = migrations.is_current(connection, path)
                if not current:
                    with self._writer.begin() as connection:
                        migrations.migrate(connection, path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one moment of the database."""
        with self._explained(), Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in one transaction, committed at the end; on an error nothing of it remains.

        The write lock is taken at the start: two writers wait for each other and cannot deadlock halfway.
        """
        with self._explained(), Session(self._writer) as session, session.begin():
            yield session

    def shrink(self) -> None:
        """Give the space of deleted rows back to the file system."""
        with self._explained(), self.engine.connect() as connection:
            sqlite = connection.connection.driver_connection
            assert isinstance(sqlite, sqlite3.Connection)
            # A script ends the open transaction and runs to its end; `execute` would stop after one of many pages.
            sqlite.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._in_words(error.orig) from error
        except sqlite3.Error as error:
            raise self._in_words(error) from error

    def _in_words(self, error: BaseException | None) -> StorageError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits only refine it
        if code == sqlite3.SQLITE_FULL:
            return StorageFull(FULL)
        if code == sqlite3.SQLITE_NOTADB:
            return DatabaseDamaged(f"{self.path} is no database: move it away, and Onceread starts a new one")
        if code == sqlite3.SQLITE_CORRUPT:
            return DatabaseDamaged(f"{self.path} is damaged: restore it from a backup, or move it away and read again")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            waited = f"for {self._wait:g} seconds"
            return StorageError(f"another Onceread was busy with {self.path} {waited}: let it finish, then try again")
        if code == sqlite3.SQLITE_READONLY:
            return StorageError(f"{self.path} is read-only: make the file and its folder writable")
        if code == sqlite3.SQLITE_CANTOPEN:
            return StorageError(f"{self.path} cannot be opened: check that its folder exists and is writable")
        return StorageError(f"the database {self.path} failed: {error}")


def _engine(path: Path, wait_seconds: float) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": wait_seconds})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # transactions begin where we say, below
        # A flipped byte in a text must reach the checksums, not fail as undecodable.
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        if connection.execute("PRAGMA page_count").fetchone() == (0,):  # a new file; an old one would be written to
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # gives bytes back without copying the whole file
        for pragma in (
            f"journal_mode = {journal_mode(sqlite3.sqlite_version_info)}",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")

    return engine
