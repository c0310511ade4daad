"""A thread of its own that serves a queue until it is told to stop: what the reading and the reports' workers share."""

import threading
from abc import ABC, abstractmethod


class Service(ABC):
    """Runs `_run` in a thread."""

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; jobs that a crash or restart left unfinished are taken up."""
        self._thread.start()

    def stop(self) -> None:
        """Stop at the next place to; what was done is saved, and the job at work goes on at the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """Serve until `_stopping` is set; `_changed` is held while that and the queue are looked at, and notified."""
