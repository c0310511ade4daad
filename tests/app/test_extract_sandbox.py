"""A sandbox ends what takes too long, too much, or crashes; and goes on with the next."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.extract.parts import Unreadable
from app.extract.sandbox import Overstepped, Sandbox


def echo(data: bytes, *arguments: Any) -> Iterator[Any]:
    yield from (len(data), list(arguments))


def loop(_data: bytes) -> Iterator[Any]:
    yield "first"
    while True:
        pass


def hoard(_data: bytes) -> Iterator[Any]:
    yield len(b"x" * 3_000_000_000)


def crash(_data: bytes) -> Iterator[Any]:
    os.abort()
    yield


def fail(_data: bytes) -> Iterator[Any]:
    yield 1
    raise KeyError("strange\nthing")


def refuse(_data: bytes) -> Iterator[Any]:
    raise Unreadable("it is no such thing")
    yield


def write(data: bytes, path: str) -> Iterator[Any]:
    with open(path, "wb") as file:
        yield file.write(data * 1_000)


def test_values_come_across(tmp_path: Any) -> None:
    with Sandbox() as sandbox:
        data = b"x" * 3_000_000
        assert list(sandbox.call(echo, data, "ü\ud800", [1])) == [3_000_000, ["ü\ud800", [1]]]
        assert list(sandbox.call(echo, data)) == [3_000_000, []]
        assert list(sandbox.call(echo, b"")) == [0, []]
        with pytest.raises(Unreadable, match=r"^it is no such thing$"):
            list(sandbox.call(refuse, b""))
        with pytest.raises(Overstepped, match=r"KeyError: 'strange.*thing'"):
            list(sandbox.call(fail, b""))
        with pytest.raises(Unreadable):
            list(sandbox.call(write, data, str(tmp_path / "much")))
        assert list(sandbox.call(echo, b"ab")) == [2, []]


def test_what_oversteps_is_ended_and_the_next_is_served() -> None:
    with Sandbox(seconds=3) as sandbox:
        begun = time.monotonic()
        values = sandbox.call(loop, b"")
        assert next(values) == "first"
        with pytest.raises(Overstepped, match="longer than 3 seconds"):
            next(values)
        assert time.monotonic() - begun < 60
    with Sandbox() as sandbox:
        with pytest.raises(Overstepped, match="more than 2,000 MB of memory"):
            list(sandbox.call(hoard, b""))
        with pytest.raises(Overstepped, match="crashed the parser"):
            list(sandbox.call(crash, b""))
        assert list(sandbox.call(echo, b"abc")) == [3, []]


def test_waiting_may_be_stopped() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with Sandbox() as sandbox, pytest.raises(KeyboardInterrupt):
        list(sandbox.call(loop, b"", tick=stop))
