"""Leases: who is at work on something, so that two programs do it once. A program that died holds none for long."""

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage.database import Database
from storage.errors import StorageError
from storage.schema import LeaseRow

SECONDS = 30.0
"""A lease not renewed for this long has lapsed."""


class Leases:
    """The leases of a library."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        """Take the lease unless another holds it; true if it is ours, and then until the block ends.

        A thread renews it meanwhile. A lease only spares work: should it lapse while its holder sleeps, two do the same
        work and come to the same rows.
        """
        owner = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4()}"
        if not self._take(name, owner):
            yield False
            return
        done = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(name, owner, done), name="lease", daemon=True)
        renewing.start()
        try:
            yield True
        finally:
            done.set()
            renewing.join()
            with suppress(StorageError):  # it lapses by itself
                self._give_up(name, owner)

    def _take(self, name: str, owner: str) -> bool:
        with self._database.writing() as session:
            now = self._database.clock(session)  # not before: who waited to write would take others' for the future's
            row = session.get(LeaseRow, name)
            if row is not None and row.owner != owner and _alive(row, now):
                return False
            session.merge(LeaseRow(name=name, owner=owner, expires_at=now + SECONDS))
            return True

    def _renew(self, name: str, owner: str, done: threading.Event) -> None:
        while not done.wait(SECONDS / 3):
            with suppress(StorageError):
                self._take(name, owner)

    def _give_up(self, name: str, owner: str) -> None:
        with self._database.writing() as session:
            row = session.get(LeaseRow, name)
            if row is not None and row.owner == owner:
                session.delete(row)


def _alive(row: LeaseRow, now: float) -> bool:
    """Whether a lease counts: not lapsed, not from a future that a clock set back has made, its program not dead."""
    if not now < row.expires_at <= now + SECONDS:
        return False
    host, pid, _ = row.owner.rsplit("/", 2)
    return host != socket.gethostname() or _runs(int(pid))


def _runs(pid: int) -> bool:
    """Whether a process of this machine runs; where that cannot be asked, it counts as running."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
