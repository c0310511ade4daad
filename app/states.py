"""Where model state meets storage: the only place.

A snapshot belongs to one document and one key: the model that made it, the tokenizer, the words of the prompt, and the
tokens read. A key that differs in any part never matches; what differs is said.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.home import Home
from app.prompts import PROMPT_FORMAT
from model.engine import Engine
from model.errors import StateError
from model.state import ModelState
from storage.errors import SnapshotDamaged
from storage.snapshots import Snapshot, SnapshotKey


@dataclass(frozen=True)
class Restored:
    """A state to go on from, and in words why it is that one."""

    state: ModelState
    reason: str


def key_of(engine: Engine, ids: Sequence[int]) -> SnapshotKey:
    """The key of the state after exactly these tokens."""
    prefix = hashlib.sha256(np.asarray(ids, dtype=np.int64).tobytes()).hexdigest()
    return SnapshotKey(engine.fingerprint, engine.tokenizer.identity, PROMPT_FORMAT, prefix)


def save(home: Home, document_id: str, key: SnapshotKey, state: ModelState, complete: bool) -> Snapshot:
    """Save a state; pages saved before and full since are not written again."""
    tensors = state.to_tensors()
    earlier = home.snapshots.latest(document_id, key)
    unchanged: set[str] = set()
    if earlier is not None:
        unchanged = ModelState.full_pages(home.engine.config, min(earlier.tokens, state.tokens)) & tensors.keys()
    changed = {name: tensor for name, tensor in tensors.items() if name not in unchanged}
    return home.snapshots.save(document_id, key, state.tokens, complete, changed, unchanged)


def restore(home: Home, document_id: str, key: SnapshotKey) -> Restored:
    """The furthest saved state of a document under this key, or an empty one and the reason why."""
    snapshot = home.snapshots.latest(document_id, key)
    if snapshot is None:
        return Restored(home.engine.empty(), _why_none(home.snapshots.find(document_id), key))
    try:
        state = home.engine.restore(snapshot.tokens, home.snapshots.load(snapshot.id))
    except (SnapshotDamaged, StateError) as error:
        home.snapshots.remove(snapshot.id)
        return Restored(home.engine.empty(), f"the saved state was damaged and is read again ({error})")
    home.snapshots.touch(snapshot.id)
    if snapshot.complete:
        return Restored(state, "saved state found")
    return Restored(state, f"reading goes on after {snapshot.tokens:,} tokens saved earlier")


def _why_none(others: Sequence[Snapshot], key: SnapshotKey) -> str:
    """Why no saved state fits."""
    if not others:
        return "not read before"
    other = others[-1].key
    parts = {
        "model": other.model != key.model,
        "tokenizer": other.tokenizer != key.tokenizer,
        "prompt": other.prompt_format != key.prompt_format,
        "text": other.prefix != key.prefix,
    }
    differing = " and ".join(part for part, differs in parts.items() if differs)
    return f"the saved state was made with a different {differing}"
