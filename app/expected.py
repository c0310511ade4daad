"""What reading the rest of a document in the library will take, and what it will do to other documents' states."""

from dataclasses import dataclass
from functools import lru_cache

from app import dialogue, library, room, states
from app.home import Home
from app.library import DocumentInfo, Earlier
from app.speed import speed


@dataclass(frozen=True)
class Expected:
    """tokens: of the whole text, of which tokens_reused are in saved state already, its own or another's.

    update_of: the document that this one looks like a new version of; evicts: the titles of the documents whose states
    would have to make room, with their bytes; over_budget: why the state could not be kept at all.
    """

    tokens: int
    tokens_reused: int
    state_bytes: int
    seconds: float
    update_of: Earlier | None
    evicts: tuple[tuple[str, int], ...]
    over_budget: str | None


def expected(home: Home, info: DocumentInfo) -> Expected:
    """Count a stored document's tokens (once; the number is kept) and tell time and state from them."""
    tokens = count_tokens(home, info)
    reused = max(info.tokens_read, _reusable(home, info.document.id, home.snapshots.bytes()))
    evicted = [each for each in states.would_drop(home, tokens) if each.document_id != info.document.id]
    return Expected(
        tokens=tokens,
        tokens_reused=reused,
        state_bytes=home.engine.state_bytes(tokens),
        seconds=speed(home).seconds(tokens, min(reused, tokens)),
        update_of=library.earlier_version(home, info.document),
        evicts=room.named(home, evicted),
        over_budget=library.over_budget(home, tokens),
    )


def count_tokens(home: Home, info: DocumentInfo) -> int:
    """A document's tokens for the model in use, counted once and kept."""
    tokens = info.document.tokens
    if tokens is None:
        tokens = len(dialogue.document_ids(home.engine, home.documents.text(info.document.id)))
        home.documents.set_tokens(info.document.id, tokens)
    return tokens


@lru_cache(maxsize=256)
def _reusable(home: Home, document_id: str, _state_bytes: int) -> int:
    """How many of a document's tokens are in saved state; worked out again when the states' bytes are others."""
    ids = dialogue.document_ids(home.engine, home.documents.text(document_id))
    return states.reusable(home, ids).tokens
