"""Who may use the model now: one at a time, and a person asking goes before a document being read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Readers take a turn for each chunk of a document, so an asker waits for one chunk at most."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._busy = False
        self._askers = 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Use the model as soon as it is free."""
        with self._free:
            self._askers += 1
            self._free.wait_for(lambda: not self._busy)
            self._askers -= 1
            self._busy = True
        yield from self._release()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Use the model when it is free and nobody waits to ask."""
        with self._free:
            self._free.wait_for(lambda: not self._busy and not self._askers)
            self._busy = True
        yield from self._release()

    def _release(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._free:
                self._busy = False
                self._free.notify_all()
