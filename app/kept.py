"""The model's state at the last turn of the latest conversations, in memory: a follow-up goes on from there.

Only the document's own state is saved on disk; a conversation's is a few hundred tokens further, and is rebuilt from
its text where it is not kept.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from model.state import ModelState

MOST = 8
"""Conversations kept. A state shares the document's full pages, so one more costs the pages still being filled."""


@dataclass(frozen=True)
class Kept:
    """A state, how many messages of the conversation it has read, and the ids of the last of them still to be read.

    state: None where it is the document's own, and nothing has had to take that up yet.
    """

    state: ModelState | None
    messages: int
    left: tuple[int, ...]


class KeptStates:
    """The latest conversations' states."""

    def __init__(self) -> None:
        self._states: OrderedDict[int, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, conversation: int, kept: Kept) -> None:
        """Keep a conversation's state; the one longest unused is let go."""
        with self._lock:
            self._states[conversation] = kept
            self._states.move_to_end(conversation)
            if len(self._states) > MOST:
                self._states.popitem(last=False)

    def find(self, conversation: int, messages: int) -> Kept | None:
        """The state of a conversation of so many messages, if it is kept."""
        with self._lock:
            kept = self._states.get(conversation)
            if kept is None or kept.messages != messages:
                return None
            self._states.move_to_end(conversation)
            return kept

    def forget(self, conversation: int) -> None:
        """Let a conversation's state go."""
        with self._lock:
            self._states.pop(conversation, None)
