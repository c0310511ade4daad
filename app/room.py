"""What made room for new state, in words that need no knowledge of states: whose it was, what stays, what it costs."""

from collections.abc import Sequence

from app.home import Home
from app.naming import names
from app.words import size
from storage.snapshots import Eviction

NAMED = 3
"""Documents named; of more, the others are counted."""
SOMEBODYS = "a document of somebody else"

Named = tuple[str, int]
"""What a document is called, and the bytes of its state."""


def named(home: Home, evicted: Sequence[Eviction]) -> tuple[Named, ...]:
    """Each document once, with all bytes of its state that made room."""
    called = names(home)
    taken: dict[str, int] = {}
    for each in evicted:
        taken[each.document_id] = taken.get(each.document_id, 0) + each.bytes
    return tuple((called.get(id, SOMEBODYS), count) for id, count in taken.items())


def was_let_go(documents: Sequence[Named]) -> str:
    """What has made room: nothing, or a sentence without its capital and its full stop."""
    return _words(documents, "was", "were")


def will_be_let_go(documents: Sequence[Named]) -> str:
    """What would have to: as `was_let_go`."""
    return _words(documents, "will be", "will be")


def sentence(words: str) -> str:
    """With its capital and its full stop; nothing stays nothing."""
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _words(documents: Sequence[Named], one: str, several: str) -> str:
    if not documents:
        return ""
    if len(documents) == 1:
        what = f"the saved state of {_listed(documents)} {one} removed"
        stays = "its text and conversations stay, and it is"
    else:
        what = f"the saved states of {_listed(documents)} {several} removed"
        stays = "their texts and conversations stay, and each is"
    return f"to make room, {what}: {stays} read again when it is next asked about"


def _listed(documents: Sequence[Named]) -> str:
    """`“A” (1.2 MB), “B” (3.0 MB) and 4 others (9.1 MB)`."""
    shown = documents if len(documents) <= NAMED + 1 else documents[:NAMED]
    parts = [f"{name if name == SOMEBODYS else f'“{name}”'} ({size(count)})" for name, count in shown]
    if rest := documents[len(shown) :]:
        parts.append(f"{len(rest)} others ({size(sum(count for _, count in rest))})")
    return " and ".join([*([", ".join(parts[:-1])] if parts[:-1] else []), parts[-1]])
