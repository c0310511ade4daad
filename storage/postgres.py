"""The library in a PostgreSQL database, for several machines over one library. Needs the extra `postgres` (psycopg)."""

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from storage.errors import StorageError, StorageFull

WRITE_LOCK = 0x4F6E6365
"""The advisory lock that a writing transaction holds."""


class Postgres:
    """How a library lives in a database of a server. One library is one database (or one schema on the search path)."""

    def __init__(self, url: str, wait_seconds: float) -> None:
        try:
            self._url = make_url(url).set(drivername="postgresql+psycopg")
        except ArgumentError as error:
            raise StorageError("the database's address is not a URL like postgresql://user@host/name") from error
        self.place = self._url.set(drivername="postgresql").render_as_string(hide_password=True)
        self._wait = wait_seconds

    def engine(self) -> Engine:
        """Connections whose transactions see one moment of the database."""
        settings = f"-c lock_timeout={int(self._wait * 1000)} -c statement_timeout=0"
        connect = {"options": settings, "connect_timeout": max(2, int(self._wait))}
        try:
            engine = create_engine(
                self._url, connect_args=connect, isolation_level="REPEATABLE READ", pool_pre_ping=True
            )
        except ModuleNotFoundError as error:
            raise StorageError("PostgreSQL needs psycopg: pip install 'onceread[postgres]'") from error

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            if connection.get_execution_options().get("writes"):
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")

        return engine

    def writer(self, engine: Engine) -> Engine:
        """The engine for transactions that write: one at a time, as with a file. Each statement sees what was committed
        before it, so that whoever waited for the lock sees what the one before has written."""
        return engine.execution_options(writes=True, isolation_level="READ COMMITTED")

    def clock(self, session: Session) -> float:
        """The server's time, in seconds: clocks of the machines that share it may differ."""
        return float(session.scalar(text("SELECT extract(epoch FROM clock_timestamp())")))

    def shrink(self, engine: Engine) -> None:
        """Nothing: the server's autovacuum uses the space of deleted rows again."""

    def back_up(self, version: int) -> None:
        """Nothing: an upgrade is one transaction, and copies of a server's database are made with pg_dump."""

    def problems(self, engine: Engine) -> list[str]:
        """Nothing: the server checks its own files."""
        return []

    def in_words(self, error: BaseException | None) -> StorageError:
        """The error of the driver as one line that says what to do."""
        state = getattr(error, "sqlstate", None)
        if state in ("53100", "53200"):
            return StorageFull(f"the server of {self.place} is out of space: free some and run the same command again")
        if state in ("55P03", "40P01", "40001"):
            waited = f"for {self._wait:g} seconds"
            return StorageError(f"another Onceread was busy with {self.place} {waited}: let it finish, then try again")
        line = " ".join(str(error).split())
        if state is None or state[:2] in ("08", "28", "3D", "57"):
            return StorageError(f"the database {self.place} cannot be reached: {line}")
        return StorageError(f"the database {self.place} failed: {line}")
