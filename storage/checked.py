"""Rows with a checksum over what they say, so that a byte changed in the file is seen and not shown."""

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, LargeBinary, event, inspect
from sqlalchemy.orm import Mapped, Mapper, mapped_column
from sqlalchemy.orm.attributes import get_history
from xxhash import xxh3_128_hexdigest


class Checked:
    """A row that notes its checksum whenever it is written. Rows from before there were checksums have none ("").

    What is damaged stays damaged in what is written later of the same row: a title must not be taken for right because
    its document was used since.
    """

    checksum: Mapped[str] = mapped_column(server_default="")

    @property
    def intact(self) -> bool:
        """Whether the row says what was written."""
        return self.checksum in ("", _checksum(self, _now))


@event.listens_for(Checked, "before_insert", propagate=True)
def _note(_mapper: Mapper[Any], _connection: Connection, row: Checked) -> None:
    row.checksum = _checksum(row, _now)


@event.listens_for(Checked, "before_update", propagate=True)
def _note_again(_mapper: Mapper[Any], _connection: Connection, row: Checked) -> None:
    if row.checksum in ("", _checksum(row, _before)):
        row.checksum = _checksum(row, _now)


def _checksum(row: Checked, value: Callable[[Checked, str], Any]) -> str:
    """Over every column but the checksum, a number that the database gives, and bytes (which have their own hash)."""
    facts = {
        column.key: _plain(value(row, column.key))
        for column in inspect(type(row)).columns
        if column.key not in ("id", "checksum") and not isinstance(column.type, LargeBinary)
    }
    return xxh3_128_hexdigest(json.dumps(facts, sort_keys=True).encode())


def _now(row: Checked, column: str) -> Any:
    return getattr(row, column)


def _before(row: Checked, column: str) -> Any:
    """As it was loaded."""
    changed = get_history(row, column).deleted
    return changed[0] if changed else getattr(row, column)


def _plain(value: Any) -> Any:
    """As it will be when it is loaded: see `schema.Words`."""
    return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "�") if isinstance(value, str) else value
