"""Who may use the model now: one at a time, people asking in the order they came, and before documents being read."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

SIGNS = 4
"""People asking at once, in all processes together, that other processes hear of."""

LOOK_SECONDS = 0.1
"""Between looks whether somebody asks in another process; one takes a millisecond."""

WAITING = "waiting: somebody is asking"
TELL_SECONDS = 1.0
"""Between two times that a reader is told so."""

OnWait = Callable[[str], None]
"""Told why there is a wait, again and again while it lasts, and "" at its end."""


class Turns:
    """Readers take a turn for each chunk of a document, so an asker waits for one chunk at most.

    An asker in another process on the same data folder uses that one's model, and shares the machine with ours: readers
    here pause until it is done.
    """

    def __init__(self, folder: Path) -> None:
        """folder: where processes see one another's signs."""
        self._folder = folder
        self._signs = [folder / f"asking-{number}.lock" for number in range(SIGNS)]
        self._told = False
        self._looked = float("-inf")
        self._free = threading.Condition()
        self._busy = False
        self._askers = 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Use the model as soon as it is free."""
        with self._sign():
            with self._free:
                self._askers += 1
                self._free.wait_for(lambda: not self._busy)
                self._askers -= 1
                self._busy = True
            yield from self._release()

    @contextmanager
    def reading(self, on_wait: OnWait | None = None) -> Iterator[None]:
        """Use the model when it is free and nobody waits to ask. on_wait: hears of askers, in any process."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._wait_for_others(on_wait or (lambda _: None))
            self._looked = time.monotonic()
        with self._free:
            self._free.wait_for(lambda: not self._busy and not self._askers)
            self._busy = True
        yield from self._release()

    def _wait_for_others(self, on_wait: OnWait) -> None:
        told = None
        while any(map(_is_locked, self._signs)):
            if told is None or time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                on_wait(WAITING)
            time.sleep(LOOK_SECONDS)
        if told is not None:
            on_wait("")

    def _release(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._free:
                self._busy = False
                self._free.notify_all()

    @contextmanager
    def _sign(self) -> Iterator[None]:
        """Hold a lock that other processes see, and that ends with this process. Without one the question is asked all
        the same; a folder that takes no locks is told of once."""
        with ExitStack() as held:
            for path in self._signs:
                try:
                    held.enter_context(FileLock(path, blocking=False))
                    break
                except Timeout:  # another asker's
                    continue
                except (OSError, NotImplementedError) as error:
                    self._tell(error)
                    break
            yield

    def _tell(self, error: Exception) -> None:
        if not self._told:
            why = getattr(error, "strerror", None) or "its filesystem has no locks"
            logging.getLogger(__name__).warning(
                "No file in %s can be locked (%s): other programs that read here will not pause while you ask.",
                self._folder, why,
            )
        self._told = True


def _is_locked(path: Path) -> bool:
    try:
        if path.exists():
            with FileLock(path, blocking=False):
                pass
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False  # a folder that takes no locks, as whoever asks there has been told by `_tell`
    return False


class Line:
    """People waiting to ask, served in the order they came; each can see how many are before them."""

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._standing: list[object] = []

    @contextmanager
    def place(self, on_move: Callable[[int], None], leaves: Callable[[], bool]) -> Iterator[None]:
        """Wait for one's turn, and have it inside. on_move: told how many are before, whenever that changes.

        Who `leaves` does not wait any longer; that is looked at twice a second.
        """
        ticket = object()
        with self._moved:
            self._standing.append(ticket)
            ahead = -1
            while (now := self._standing.index(ticket)) and not leaves():
                if now != ahead:
                    on_move(now)
                    ahead = now
                self._moved.wait(0.5)
        on_move(0)
        try:
            yield
        finally:
            with self._moved:
                self._standing.remove(ticket)
                self._moved.notify_all()
