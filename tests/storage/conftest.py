"""An open library in a real file, with one document."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from storage.blocks import Maker
from storage.database import Database
from storage.documents import Document, Documents

MAKER = Maker("model", "tokenizer", "prompt")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "library.sqlite"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path, wait_seconds=10)
    yield database
    database.close()


@pytest.fixture
def document(database: Database) -> Document:
    return Documents(database).add("A book", "text", "Once upon a time", [], [], None)


def on_every_use(database: Database, pragma: str) -> None:
    """Run a pragma whenever a connection is taken up, to make SQLite meet a limit."""

    @event.listens_for(database.engine, "checkout")
    def _set(connection, _record, _proxy) -> None:  # type: ignore[no-untyped-def]
        connection.execute(f"PRAGMA {pragma}")
