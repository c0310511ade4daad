"""A process of its own for parsers of other people's files: what they do to it, they do to nothing else.

It has limits on memory, on the time to the next result and on what it may write, answers in JSON (never in a pickle,
which could run code here), and is ended when it oversteps, fails or is no longer needed.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import app
from app.extract.parts import MEGABYTE, Unreadable

MEMORY_LIMIT = 2_000 * MEGABYTE
"""Bytes of address space, the file itself included."""
SECONDS_LIMIT = 60.0
"""For each result: a page of a PDF, the whole of another file."""
ANSWER_LIMIT = 400 * MEGABYTE
UNPACKED_LIMIT = 500 * MEGABYTE
"""Bytes of an archive, unpacked: the most that is written."""
_TICK = 0.2
_STARTING = 120.0
"""Seconds for the process to be there, on the busiest machine."""

Tick = Callable[[], None]
"""Called while waiting; it may raise to stop."""


class Overstepped(Unreadable):
    """The parser was ended: it took too long or too much, or crashed."""


class Sandbox:
    """One worker process, started when first needed and again after it was ended. A context manager."""

    def __init__(self, memory: int = MEMORY_LIMIT, seconds: float = SECONDS_LIMIT) -> None:
        self._memory, self._seconds = memory, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None
        self._held: bytes | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._line is not None:
            self._line.close()
        self._process = self._line = self._held = None

    def call(
        self, function: Callable[..., Iterator[Any]], data: bytes, *arguments: Any, tick: Tick | None = None
    ) -> Iterator[Any]:
        """The values of `function(data, *arguments)`, a generator of `app.extract`, as JSON brings them across.

        Raises `Unreadable` if the function does, and its kind `Overstepped` if it had to be ended.
        """
        try:
            line = self._start()
            task = {"module": function.__module__, "name": function.__name__, "arguments": arguments}
            line.send_bytes(json.dumps(task | {"data": self._held is not data}).encode())
            if self._held is not data:
                line.send_bytes(data)
                self._held = data
            while (answer := self._answer(line, tick)) is not None:
                yield answer
        except (EOFError, OSError) as error:
            self.stop()
            raise Overstepped("reading it crashed the parser: it is damaged, or made to do so") from error
        except BaseException as error:  # also when the caller stops listening: what was asked is no longer wanted
            if not isinstance(error, Unreadable) or isinstance(error, Overstepped):
                self.stop()
            raise

    def _answer(self, line: Connection, tick: Tick | None) -> Any:
        """The next value, or None at the end."""
        until = time.monotonic() + self._seconds
        while not line.poll(_TICK):
            if time.monotonic() > until:
                raise Overstepped(f"reading it took longer than {self._seconds:.0f} seconds")
            if tick:
                tick()
        kind, value = json.loads(line.recv_bytes(ANSWER_LIMIT))
        if kind == "refused":
            raise Unreadable(value)
        if kind == "memory":
            raise Overstepped(f"reading it takes more than {self._memory / MEGABYTE:,.0f} MB of memory")
        if kind == "failed":
            raise Overstepped(f"it is damaged in a way its parser does not bear ({value})")
        return value if kind == "value" else None

    def _start(self) -> Connection:
        """The line to the process, started if there is none."""
        if self._line is None:
            self._line, theirs = Pipe()
            environment = os.environ | {"PYTHONPATH": str(Path(app.__path__[0]).parent)}
            command = [sys.executable, "-P", "-m", "app.extract.sandbox", str(theirs.fileno()), str(self._memory)]
            with theirs:
                self._process = subprocess.Popen(
                    command, env=environment, pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
            if not self._line.poll(_STARTING):
                raise Overstepped("the parser's process did not start in time: try again")
            self._line.recv_bytes()
        return self._line


def main(handle: int, memory: int) -> None:
    """Serve calls until the other end closes."""
    import resource  # here, for Windows has none; it has no sandbox either

    limits = {resource.RLIMIT_AS: memory, resource.RLIMIT_FSIZE: UNPACKED_LIMIT, resource.RLIMIT_CORE: 0}
    for limit, most in limits.items():
        with suppress(ValueError):  # macOS knows the limit on memory but refuses to set it
            resource.setrlimit(limit, (most, most))
    importlib.import_module("app.extract.readers").readers()  # loads what reading takes, before the clock runs
    line = Connection(handle)
    line.send_bytes(b"ready")
    data = b""
    while True:
        try:
            task = json.loads(line.recv_bytes())
            if task["data"]:
                data = b""  # gone before its successor comes
                data = line.recv_bytes()
        except (EOFError, OSError):
            return
        function = getattr(importlib.import_module(task["module"]), task["name"])
        for answer in _answers(function, data, task["arguments"]):
            line.send_bytes(json.dumps(answer, default=_plain).encode("utf-8", "surrogatepass"))


def _answers(function: Callable[..., Iterator[Any]], data: bytes, arguments: list[Any]) -> Iterator[tuple[str, Any]]:
    """A function's values, then its end, whatever that is."""
    try:
        for value in function(data, *arguments):
            yield "value", value
        yield "end", None
    except Unreadable as reason:
        yield "refused", str(reason)
    except MemoryError:
        yield "memory", None
    except Exception as error:  # a damaged file can make a parser fail in any way; each is reported as damage
        yield "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def _plain(value: Any) -> Any:
    """A dataclass as JSON holds it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
