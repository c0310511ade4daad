"""Who works on cells: names of workers, and claims of those that are gone."""

import os
import secrets
import socket
import time

import psutil

from storage.reports import Cells

LEASE = 300.0
"""Seconds a claim holds without a sign of life: longer than any step of reading or writing takes."""


class Claims:
    """One worker's claims on cells, kept alive while it works."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.worker = claims_of(os.getpid()) + secrets.token_hex(4)
        self._renewed = time.monotonic()

    def alive(self) -> None:
        """A sign of life, written to the database ten times a lease at most."""
        if time.monotonic() - self._renewed > LEASE / 10:
            self.cells.renew(self.worker, LEASE)
            self._renewed = time.monotonic()


def claims_of(process: int) -> str:
    """How the claims of a process of this machine begin."""
    return f"{socket.gethostname()}/{process}/"


def release(cells: Cells, beginning: str) -> int:
    """Give back the claims that begin so; how many cells that were."""
    return sum(cells.release(worker) for worker in cells.workers() if worker.startswith(beginning))


def release_lost(cells: Cells) -> int:
    """Give back the claims of workers on this machine that are no longer there; how many cells that were."""
    return sum(cells.release(worker) for worker in cells.workers() if is_lost(worker))


def is_lost(worker: str) -> bool:
    """Whether a worker ran on this machine and its process is gone."""
    host, process, _ = worker.rsplit("/", 2)
    return host == socket.gethostname() and not psutil.pid_exists(int(process))
