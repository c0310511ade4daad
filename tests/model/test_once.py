"""A value is made once, when it is asked for."""

import threading
from itertools import count

import pytest

from model.once import Once


def test_it_is_made_when_first_asked_for_and_then_kept() -> None:
    made = count()
    once = Once(lambda: next(made))
    assert next(made) == 0
    assert [once.value, once.value] == [1, 1]


def test_threads_share_what_one_of_them_makes() -> None:
    begun, go_on, made = threading.Event(), threading.Event(), count()

    def make() -> int:
        begun.set()
        go_on.wait(10)
        return next(made)

    once, found = Once(make), list[int]()
    threads = [threading.Thread(target=lambda: found.append(once.value)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert found == [0, 0, 0]


def test_what_failed_is_tried_again() -> None:
    tries = count()

    def make() -> str:
        if next(tries) == 0:
            raise OSError("not yet")
        return "made"

    once = Once(make)
    with pytest.raises(OSError, match="not yet"):
        _ = once.value
    assert once.value == "made"
