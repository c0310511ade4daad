"""A lease is held by one; one that died or slept holds none for long; a clock that is set back blocks nobody."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from storage import leases
from storage.database import Database
from storage.leases import SECONDS, Leases
from storage.schema import LeaseRow

HOLD = """
import sys, time
from pathlib import Path
from storage.database import Database
from storage.leases import Leases
with Leases(Database(Path(sys.argv[1]))).hold("a") as ours:
    print(ours, flush=True)
    time.sleep(60)
"""


def test_one_holds_it_until_the_end_even_by_an_error(database: Database) -> None:
    held = Leases(database)
    with held.hold("a") as ours, held.hold("a") as again, held.hold("b") as another:
        assert (ours, again, another) == (True, False, True)
    with pytest.raises(ZeroDivisionError), held.hold("a"):
        raise ZeroDivisionError
    with held.hold("a") as ours:
        assert ours


def test_a_killed_program_holds_nothing(database: Database, path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with Leases(database).hold("a") as ours:
            assert not ours
        process.kill()
    with Leases(database).hold("a") as ours:
        assert ours


@pytest.mark.parametrize(
    ("expires_in", "holds"), [(-1, False), (1, True), (SECONDS - 1, True), (SECONDS + 3600, False)],
)
def test_on_another_machine_the_clock_decides(database: Database, expires_in: float, holds: bool) -> None:
    with database.writing() as session:
        session.add(LeaseRow(name="a", owner="another machine/1/x", expires_at=time.time() + expires_in))
    with Leases(database).hold("a") as ours:
        assert ours != holds


def test_it_is_renewed_while_it_is_held(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "SECONDS", 0.6)
    with Leases(database).hold("a") as ours:
        time.sleep(1.5)
        with Leases(database).hold("a") as again:
            assert (ours, again) == (True, False)


def test_of_many_that_ask_at_once_one_gets_it(database: Database) -> None:
    got: list[bool] = []
    start, end = threading.Barrier(6), threading.Barrier(6)

    def ask() -> None:
        start.wait()
        with Leases(database).hold("a") as ours:
            got.append(ours)
            end.wait()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 5 + [True]


def test_who_waits_for_another_to_write_reads_the_clock_after(database: Database) -> None:
    got: list[bool] = []

    def ask() -> None:
        with Leases(database).hold("a") as ours:
            got.append(ours)

    asking = threading.Thread(target=ask)
    with database.writing() as session:
        asking.start()
        time.sleep(0.3)  # it waits for this transaction
        owner = f"{socket.gethostname()}/{os.getpid()}/another"
        session.add(LeaseRow(name="a", owner=owner, expires_at=time.time() + SECONDS))
    asking.join()
    assert got == [False]
