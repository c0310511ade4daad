"""From a question to a streamed answer."""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import cast

from app import session
from app.home import Home
from app.session import Answer

SECONDS_BETWEEN = 0.05
"""Text is sent to the browser at most this often."""


class Stops:
    """Which browser tabs have an answer under way, and how to end it."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}

    @contextmanager
    def asking(self, tab: str) -> Iterator[threading.Event]:
        """While an answer is made for a tab; gives the event that says it should stop."""
        self._events[tab] = threading.Event()
        try:
            yield self._events[tab]
        finally:
            del self._events[tab]

    def stop(self, tab: str) -> None:
        """End the answer under way in a tab, if there is one; what has come so far is kept."""
        if event := self._events.get(tab):
            event.set()


def stream(
    home: Home, document_id: str, question: str, conversation: int | None, stopped: threading.Event
) -> Iterator[str | Answer]:
    """The reply so far, again and again as it grows, and the Answer at the end. Raises what `session.ask` raises."""
    raw, sent = "", 0.0
    answering = session.ask(home, document_id, question, conversation, should_stop=stopped.is_set)
    with closing(cast("Generator[str | Answer, None, None]", answering)) as pieces:
        for piece in pieces:
            if isinstance(piece, Answer):
                yield piece
                continue
            raw += piece
            if time.monotonic() - sent >= SECONDS_BETWEEN:
                yield raw
                sent = time.monotonic()
