"""Asking goes before reading, and only one uses the model at a time."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from app import turns as module
from app.turns import SIGNS, Line, Turns

ROOT = Path(__file__).parents[2]
ASKER = """
import pathlib, sys
from app.turns import Turns
with Turns(pathlib.Path(sys.argv[1])).asking():
    print("asking", flush=True)
    sys.stdin.read()
"""


@contextmanager
def asker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that asks until its input ends."""
    command = [sys.executable, "-c", ASKER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        yield process


def begin_reading(turns: Turns, times: int = 1) -> tuple[threading.Thread, list[int]]:
    """A thread that takes reading turns, and the numbers of those it had."""
    had: list[int] = []

    def read() -> None:
        for n in range(times):
            with turns.reading():
                had.append(n)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, had


@pytest.mark.parametrize("ends", ["well", "killed"])
def test_readers_pause_while_another_process_asks(tmp_path: Path, ends: str) -> None:
    turns = Turns(tmp_path)
    with asker(tmp_path) as one, asker(tmp_path) as other:
        thread, had = begin_reading(turns)
        thread.join(0.3)
        assert had == []
        with turns.asking():  # people do not wait for one another's processes
            pass
        one.communicate() if ends == "well" else one.kill()
        thread.join(0.3)
        assert had == []
        other.communicate() if ends == "well" else other.kill()
        thread.join(10)
    assert had == [0]


def test_a_reader_hears_why_it_waits_and_when_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TELL_SECONDS", 0.0)
    turns, told = Turns(tmp_path), list[str]()
    with turns.reading(told.append):
        pass
    assert told == []
    time.sleep(module.LOOK_SECONDS)

    def read() -> None:
        with turns.reading(told.append):
            told.append("reading")

    with asker(tmp_path) as one:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(0.5)
        one.communicate()
        thread.join(10)
    assert told[-2:] == ["", "reading"]
    assert len(told) > 3  # again and again
    assert set(told[:-2]) == {module.WAITING}


def test_more_askers_than_signs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as held:
        for _ in range(SIGNS + 2):
            held.enter_context(Turns(tmp_path).asking())
    assert caplog.messages == []


def test_a_folder_without_locks_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_file: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    turns = Turns(tmp_path)
    for _ in range(2):
        with turns.asking():
            pass
    (line,) = caplog.messages
    assert line.startswith(f"No file in {tmp_path} can be locked (No locks available): other programs that read here ")
    thread, had = begin_reading(turns)
    thread.join(10)
    assert had == [0]


def test_an_asker_waits_for_one_reading_turn_at_most(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    order: list[str] = []
    first_turn = threading.Event()

    def read() -> None:
        for n in range(20):
            with turns.reading():
                first_turn.set()
                order.append(f"read {n}")
                time.sleep(0.02)

    reader = threading.Thread(target=read)
    reader.start()
    first_turn.wait()
    with turns.asking():
        before = len(order)
        order.append("ask")
    reader.join()
    assert before <= 2  # the turn under way, and at most one that began before the question came
    assert order.index("ask") == before
    assert len(order) == 21


def test_turns_never_overlap(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    inside = 0
    overlaps: list[int] = []

    def work(asking: bool) -> None:
        nonlocal inside
        for _ in range(50):
            with turns.asking() if asking else turns.reading():
                inside += 1
                overlaps.append(inside)
                inside -= 1

    threads = [threading.Thread(target=work, args=(n % 2 == 0,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(overlaps) == 200
    assert set(overlaps) == {1}


def test_an_error_gives_the_turn_back(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    for use in (turns.asking, turns.reading):
        try:
            with use():
                raise ValueError
        except ValueError:
            pass
    with turns.reading(), threading.Lock():
        pass


def test_a_line_serves_in_order_and_tells_how_many_are_before() -> None:
    line, served = Line(), []
    told: dict[int, list[int]] = {n: [] for n in range(4)}
    gate = threading.Event()

    def ask(n: int) -> None:
        with line.place(told[n].append, lambda: False):
            served.append(n)
            gate.wait(10)

    people = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for n, person in enumerate(people):
        person.start()
        until = time.monotonic() + 10
        while not told[n] and time.monotonic() < until:
            time.sleep(0.005)
    assert [told[n][0] for n in range(4)] == [0, 1, 2, 3]
    gate.set()
    for person in people:
        person.join()
    assert served == [0, 1, 2, 3]
    assert all(numbers == sorted(numbers, reverse=True) and numbers[-1] == 0 for numbers in told.values())


def test_who_leaves_the_line_holds_nobody_up() -> None:
    line = Line()
    leaving = threading.Event()
    waiting = threading.Event()
    with line.place(lambda _: None, lambda: False):

        def wait() -> None:
            with line.place(lambda _: waiting.set(), leaving.is_set):
                pass

        person = threading.Thread(target=wait)
        person.start()
        waiting.wait(10)
        leaving.set()
        person.join(10)
        assert not person.is_alive()
    with line.place(lambda _: None, lambda: False):
        pass
