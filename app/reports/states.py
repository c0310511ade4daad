"""States kept in memory between tasks, so that a worker that has a document need not load it again."""

from collections import OrderedDict

from app import reading
from app.home import Home
from model.state import ModelState

MOST = 4
"""States held: full pages are shared by all that is asked of a document, so one costs its size once."""

Read = tuple[reading.ReadResult, ModelState]


class WarmStates:
    """The states of the documents last used."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Read] = OrderedDict()

    def held(self) -> list[str]:
        """The documents whose states are here, the last used last."""
        return list(self._held)

    def get(
        self, home: Home, document_id: str, should_stop: reading.ShouldStop, on_read: reading.OnProgress | None
    ) -> Read:
        """A document's state, from here or as `reading.read_state` gives it, and raises."""
        found = self._held.pop(document_id, None) or reading.read_state(home, document_id, on_read, should_stop)
        self._held[document_id] = found
        if len(self._held) > MOST:
            self._held.popitem(last=False)
        return found
