"""Who may sign in, what each has chosen, and which browsers are signed in."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select

from storage.database import Database
from storage.errors import NotFound
from storage.schema import PersonRow, SignInRow


@dataclass(frozen=True)
class Person:
    """password: an Argon2 hash, empty for one who cannot sign in; created_at: seconds since 1970."""

    name: str
    password: str
    created_at: float
    preferences: dict[str, Any]


class People:
    """The people of a library."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, name: str, password: str) -> None:
        """Add a person, or give one another password hash; the browsers signed in as that person are signed out."""
        with self._database.writing() as session:
            row = session.get(PersonRow, name)
            if row is None:
                session.add(PersonRow(name=name, password=password, created_at=time.time(), preferences={}))
            else:
                row.password = password
            session.execute(delete(SignInRow).where(SignInRow.person == name))

    def get(self, name: str) -> Person | None:
        """The person of that name."""
        with self._database.reading() as session:
            row = session.get(PersonRow, name)
            return _person(row) if row else None

    def list(self) -> list[Person]:
        """Everybody, by name."""
        with self._database.reading() as session:
            return [_person(row) for row in session.scalars(select(PersonRow).order_by(PersonRow.name))]

    def remove(self, name: str) -> None:
        """Remove a person; their documents stay. Raises NotFound."""
        with self._database.writing() as session:
            row = session.get(PersonRow, name)
            if row is None:
                raise NotFound(f"there is no {name!r}: `onceread user list` shows who there is")
            session.delete(row)

    def prefer(self, name: str, preferences: dict[str, Any]) -> None:
        """Keep what a person chose, in place of earlier choices. A name that is new here cannot sign in."""
        with self._database.writing() as session:
            row = session.get(PersonRow, name)
            if row is None:
                session.add(PersonRow(name=name, password="", created_at=time.time(), preferences=preferences))
            else:
                row.preferences = preferences

    def sign_in(self, token_hash: str, name: str, seconds: float) -> None:
        """Note a browser's token for that many seconds; tokens that have run out are forgotten."""
        now = time.time()
        with self._database.writing() as session:
            session.execute(delete(SignInRow).where(SignInRow.expires_at < now))
            session.add(SignInRow(token_hash=token_hash, person=name, expires_at=now + seconds))

    def signed_in(self, token_hash: str) -> str | None:
        """Whose token it is, while it lasts."""
        with self._database.reading() as session:
            row = session.get(SignInRow, token_hash)
            return row.person if row is not None and row.expires_at > time.time() else None

    def sign_out(self, token_hash: str) -> None:
        """Forget a browser's token; it need not be known."""
        with self._database.writing() as session:
            session.execute(delete(SignInRow).where(SignInRow.token_hash == token_hash))


def _person(row: PersonRow) -> Person:
    return Person(row.name, row.password, row.created_at, row.preferences)
