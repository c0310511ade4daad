"""The open library: sessions on its database, whichever kind it is, and the errors in words."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from storage import migrations
from storage.errors import DatabaseDamaged, StorageError
from storage.postgres import Postgres
from storage.sqlite import SQLite


class Database:
    """An open library; may be used from several threads and next to other processes."""

    def __init__(self, where: Path | str, wait_seconds: float = 30.0) -> None:
        """Open the SQLite file, or the PostgreSQL database of a URL, creating or upgrading the tables.

        wait_seconds: how long to wait for another process's transaction.
        Raises DatabaseTooNew, DatabaseDamaged, StorageFull, StorageError.
        """
        by_url = str(where).startswith(("postgresql:", "postgres:", "postgresql+psycopg:"))
        kind = Postgres(str(where), wait_seconds) if by_url else SQLite(Path(where), wait_seconds)
        self._kind = kind
        self.engine = kind.engine()
        self._writer = kind.writer(self.engine)
        try:
            self._upgrade()
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
            session.connection()  # a session would take the lock with its first statement only
            yield session

    def clock(self, session: Session) -> float:
        """The time in seconds since the epoch, by one clock for all who share the library."""
        return self._kind.clock(session)

    def shrink(self) -> None:
        """Give the space of deleted rows back. Where that fails (it takes room itself, and a turn at writing), it is
        used by what is saved next, or given back the next time: what was removed is removed."""
        with suppress(StorageError), self._explained():
            self._kind.shrink(self.engine)

    def problems(self) -> list[str]:
        """What the database itself finds wrong with its file."""
        with self._explained():
            return self._kind.problems(self.engine)

    def _upgrade(self) -> None:
        with self._explained():
            with self.engine.connect() as connection:
                before = migrations.version(connection, self._kind.place)
            if before == len(migrations.MIGRATIONS):
                return
            with self._writer.begin() as connection:
                before = migrations.version(connection, self._kind.place)  # another process may have been first
                if 0 < before < len(migrations.MIGRATIONS):
                    self._kind.back_up(before)
                migrations.migrate(connection, self._kind.place)
        if before:
            self.shrink()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._kind.in_words(error.orig) from error
        except sqlite3.Error as error:
            raise self._kind.in_words(error) from error
        except json.JSONDecodeError as error:
            raise DatabaseDamaged(f"a row of {self._kind.place} is damaged: `onceread check` says more") from error
