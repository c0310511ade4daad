"""Asking goes before reading, and only one uses the model at a time."""

import threading
import time

from app.turns import Line, Turns


def test_an_asker_waits_for_one_reading_turn_at_most() -> None:
    turns = Turns()
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


def test_turns_never_overlap() -> None:
    turns = Turns()
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


def test_an_error_gives_the_turn_back() -> None:
    turns = Turns()
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
