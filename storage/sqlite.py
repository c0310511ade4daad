"""The library as one SQLite file: the default."""

import os
import sqlite3
import time
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from storage.errors import DatabaseDamaged, StorageError, StorageFull

PAGE_SIZE = 16384
"""Bytes. Measured with 90 blobs of 3 MiB: 4 KiB pages write in 0.53 s, read in 85 ms; 16 KiB 0.42 s, 72 ms; 32 and
64 KiB are no better than 16, and waste more on small rows. Loading a gigabyte takes 1.22, 1.02 and 0.99 s of one core
in pages of 4, 16 and 64 KiB (best of three)."""

WAL_SAFE = (3, 51, 3)
"""Older versions can corrupt a write-ahead log that two connections share."""

VACUUM_PAGES = 1024
"""Pages given back in one transaction (16 MiB), so that others get their turn between two."""

FULL = "the disk is full: free some space and run the same command again; what was saved so far is kept"


def journal_mode(version: tuple[int, ...]) -> str:
    """The journal to use with this version of SQLite."""
    return "WAL" if version >= WAL_SAFE else "DELETE"


class SQLite:
    """How a library lives in a file."""

    def __init__(self, path: Path, wait_seconds: float) -> None:
        self.place = str(path)
        self._path = path
        self._wait = wait_seconds

    def engine(self) -> Engine:
        """Connections whose transactions begin where we say; the option `begin` says how."""
        connect = {"timeout": self._wait}
        engine = create_engine(URL.create("sqlite", database=str(self._path)), connect_args=connect)

        @event.listens_for(engine, "connect")
        def _prepare(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
            connection.isolation_level = None  # transactions begin where we say, below
            # A flipped byte in a text must reach the checksums, not fail as undecodable.
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            if connection.execute("PRAGMA page_count").fetchone() == (0,):  # a new file; an old one would be written to
                connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # gives bytes back without copying the file
            for pragma in (
                f"journal_mode = {journal_mode(sqlite3.sqlite_version_info)}",
                "synchronous = EXTRA",  # FULL may lose the last commit with the power: the journal comes back
                "foreign_keys = ON",
                # Debian's SQLite writes zeros over all that is deleted: at every commit of a book, over the end of the
                # state before it, 29 % of all that is written. `shrink` takes freed pages out of the file instead.
                "secure_delete = FAST",
            ):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")

        return engine

    def writer(self, engine: Engine) -> Engine:
        """The engine for transactions that write: they take the write lock at their start."""
        return engine.execution_options(begin="IMMEDIATE")

    def clock(self, session: Session) -> float:
        """This machine's time, in seconds: a file is shared on one."""
        return time.time()

    def shrink(self, engine: Engine) -> None:
        """Give the space of deleted rows back to the file system, a little at a time."""
        with engine.connect() as connection:
            sqlite = connection.connection.driver_connection
            assert isinstance(sqlite, sqlite3.Connection)
            left = sqlite.execute("PRAGMA freelist_count").fetchone()[0]
            while left:
                # A script ends the open transaction and runs to its end; `execute` would stop after one of many pages.
                sqlite.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
                before, left = left, sqlite.execute("PRAGMA freelist_count").fetchone()[0]
                if left >= before:
                    break  # another process frees more than we give back, and gives it back itself
            sqlite.executescript("PRAGMA wal_checkpoint(TRUNCATE)")

    def back_up(self, version: int) -> None:
        """Copy the library before it is upgraded from `version`, to a file beside it."""
        target = self._path.with_name(f"{self._path.name}.schema-{version}")
        part = target.with_name(f"{target.name}.{os.getpid()}")
        try:
            source = sqlite3.connect(self._path, timeout=self._wait)
            copy = sqlite3.connect(part)
            try:
                source.backup(copy)
            finally:
                copy.close()
                source.close()
            with part.open("rb+") as written:
                os.fsync(written.fileno())
            part.replace(target)
        except OSError as error:
            raise StorageError(f"{self.place} cannot be backed up to {target} ({error.strerror})") from error
        finally:
            part.unlink(missing_ok=True)

    def problems(self, engine: Engine) -> list[str]:
        """What SQLite itself finds wrong with the file."""
        with engine.connect() as connection:
            found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    def in_words(self, error: BaseException | None) -> StorageError:
        """The error of the driver as one line that says what to do."""
        path = self._path
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits only refine it
        if code == sqlite3.SQLITE_FULL:
            return StorageFull(FULL)
        if code == sqlite3.SQLITE_NOTADB:
            return DatabaseDamaged(f"{path} is no database: move it away, and Onceread starts a new one")
        if code == sqlite3.SQLITE_CORRUPT:
            return DatabaseDamaged(f"{path} is damaged: restore it from a backup, or move it away and read again")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            waited = f"for {self._wait:g} seconds"
            return StorageError(f"another Onceread was busy with {path} {waited}: let it finish, then try again")
        if code == sqlite3.SQLITE_READONLY:
            return StorageError(f"{path} is read-only: make the file and its folder writable")
        if code == sqlite3.SQLITE_CANTOPEN:
            return StorageError(f"{path} cannot be opened: check that its folder exists, is writable, and has room")
        return StorageError(f"the database {path} failed: {error}")
