"""Where model state meets storage: the only place.

A saved state belongs to its maker (model, tokenizer, the words of the prompt) and to the tokens read, by their hash; so
a text that begins like one read before goes on from the furthest state the two have in common. States of another maker
never match; what differs is said.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app import latents
from app.errors import OncereadError
from app.home import Home
from app.prompts import PROMPT_FORMAT
from model import state as layout
from model.engine import Engine
from model.errors import StateError, device_errors
from model.handover import Handover
from model.state import ModelState
from storage.blocks import Maker, Piece
from storage.errors import SnapshotDamaged
from storage.snapshots import Eviction, Snapshot

WHAT_DIFFERS = {"model": "model", "tokenizer": "tokenizer", "prompt_format": "prompt"}
"""The parts of a maker, as people are told of them."""

FOUND = "saved state found"
"""Why no token of a document is read again."""

OVERHEAD = 0.1
"""Checkpoints take at most this share of what the latents take; but one is always kept."""


@dataclass(frozen=True)
class Restored:
    """A state to go on from, in words why it is that one, and how many tokens were read again to mend it.

    shared: it was saved for another document.
    """

    state: ModelState
    reason: str
    tokens_mended: int = 0
    shared: bool = False


@dataclass(frozen=True)
class Reusable:
    """How many of a text's first tokens are in saved state, and the document that they were read for."""

    tokens: int
    document: str | None


def maker_of(engine: Engine) -> Maker:
    """What a state of this engine is saved under, besides its tokens."""
    return Maker(engine.fingerprint, engine.tokenizer.identity, PROMPT_FORMAT)


def prefixes_of(engine: Engine, ids: Sequence[int]) -> dict[int, str]:
    """The hash of the first n tokens, for every n where a page or a chunk ends, and the end."""
    tokens = np.asarray(ids, dtype=np.int64)
    digest = hashlib.sha256()
    prefixes = {}
    step = math.gcd(engine.chunk, layout.PAGE)
    for start in range(0, len(ids), step):
        piece = tokens[start : start + step]
        digest.update(piece.tobytes())
        prefixes[start + len(piece)] = digest.hexdigest()
    return prefixes


def resumable(engine: Engine, prefixes: Mapping[int, str]) -> dict[int, str]:
    """Those of a text's prefixes after which a state may be taken up: where a chunk ends, and the end of all.

    Reading goes on from the end of a chunk as if it had never stopped, to the bit; from elsewhere it would not.
    """
    total = max(prefixes, default=0)
    return {n: prefix for n, prefix in prefixes.items() if n % engine.chunk == 0 or n == total}


def checkpoints(engine: Engine, tokens: int) -> list[int]:
    """After how many tokens of a text the state is kept for good, besides its end.

    The last is where a page and a chunk end last before the end: a text that grows is read from there. The others lie
    so far apart that all together stay within OVERHEAD of the latents, at places that are the same in every text.
    """
    both = math.lcm(layout.PAGE, engine.chunk)
    fixed = layout.fixed_bytes(engine.config, engine.dtype)
    apart = fixed / (OVERHEAD * layout.bytes_per_token(engine.config, engine.dtype))
    spacing = -(-int(apart + 1) // both) * both
    last = (tokens - 1) // both * both
    spaced = [n * spacing for n in range(1, tokens // spacing) if n * spacing < last]
    return [*spaced, last] if last > 0 else []


def save(home: Home, document_id: str, prefixes: Mapping[int, str], state: ModelState | Handover) -> Snapshot:
    """Save a document's state. Pages saved before, by whatever document, are not written again.

    prefixes: of all the document's tokens. Earlier states of the document stay where `checkpoints` are.
    """
    engine, settings = home.engine, home.settings
    tensors = state.to_tensors()
    pages = []
    for page in range(state.tokens // layout.PAGE):
        names = ModelState.page_names(engine.config, page)
        end = (page + 1) * layout.PAGE
        latent = {name: tensors.pop(name) for name in sorted(names)}
        pages.append(Piece(prefixes[end], end, latent, latents.encoding(settings, page=True)))
    last = Piece(prefixes[state.tokens], state.tokens, tensors, latents.encoding(settings, page=False))
    total = max(prefixes)
    keep = [prefixes[n] for n in checkpoints(engine, total)]
    return home.snapshots.save(document_id, maker_of(engine), pages, last, state.tokens == total, keep)


def check_budget(home: Home, tokens: int) -> None:
    """Raises OncereadError if the state of a text of so many tokens alone is more than all states may take."""
    budget, engine = home.settings.max_state, home.engine
    fixed = layout.fixed_bytes(engine.config, engine.dtype)
    needed = latents.saved_bytes(engine, home.settings, tokens) + fixed * len(checkpoints(engine, tokens))
    if budget is not None and needed > budget:
        raise OncereadError(
            f"the state of {tokens:,} tokens takes {needed / 1e6:,.1f} MB, and all saved states together may take "
            f"{budget / 1e6:,.1f} MB: raise --max-state (or ONCEREAD_MAX_STATE)"
        )


def make_room(home: Home, document_id: str, tokens: int) -> list[Eviction]:
    """Before `tokens` more of a document are saved: drop the states of documents used longest ago, if need be."""
    budget, engine = home.settings.max_state, home.engine
    if budget is None:
        return []
    incoming = latents.saved_bytes(engine, home.settings, tokens)
    return home.snapshots.evict(budget, incoming, document_id, maker_of(engine))


def would_drop(home: Home, tokens: int) -> list[Eviction]:
    """What `make_room` would drop for a new document of so many tokens. Nothing is."""
    budget, engine = home.settings.max_state, home.engine
    if budget is None:
        return []
    incoming = latents.saved_bytes(engine, home.settings, tokens)
    return home.snapshots.evict(budget, incoming, "", maker_of(engine), really=False)


def reusable(home: Home, ids: Sequence[int]) -> Reusable:
    """How much of a text is in saved state already, its own or that of another which begins alike; without loading."""
    found = home.snapshots.along("", maker_of(home.engine), resumable(home.engine, prefixes_of(home.engine, ids)))
    if not found:
        return Reusable(0, None)
    return Reusable(found[0].tokens, next(iter(found[0].documents), None))


def restore(home: Home, document_id: str, ids: Sequence[int]) -> Restored:
    """The furthest saved state that a document can go on from, or an empty one, and the reason why.

    A damaged page is read again from the nearest sound state before it, and what stands on it is as good as before;
    anything else that is damaged is dropped, and the next state before it is taken.
    """
    prefixes = resumable(home.engine, prefixes_of(home.engine, ids))
    notes: list[str] = []
    mended = 0
    for snapshot in home.snapshots.along(document_id, maker_of(home.engine), prefixes):
        try:
            state, again, note = _load(home, snapshot, ids)
        except (SnapshotDamaged, StateError) as error:
            notes.append(f"the saved state was damaged and is read again ({error})")
            home.snapshots.discard(error.blocks if isinstance(error, SnapshotDamaged) else [snapshot.id])
            continue
        mended += again
        notes += [note] if note else []
        home.snapshots.touch(document_id, snapshot.id)
        reason = "; ".join([*notes, _why(home, document_id, snapshot, len(ids))])
        return Restored(state, reason, mended, shared=document_id not in snapshot.documents)
    return Restored(home.engine.empty(), "; ".join(notes) or _why_none(home, document_id))


def _load(home: Home, snapshot: Snapshot, ids: Sequence[int]) -> tuple[ModelState, int, str]:
    """A state, the tokens read again to mend it, and a note about it. Raises SnapshotDamaged, StateError."""
    try:
        return _loaded(home, snapshot), 0, ""
    except SnapshotDamaged as damage:
        places = {block: home.snapshots.place(block) for block in damage.blocks}
        if beyond := [block for block, place in places.items() if place is None or place[0] != "page"]:
            damage.blocks = tuple(beyond)
            raise
        again = sum(_mend(home, block, place[1], ids, damage) for block, place in places.items() if place)
        names = ", ".join(damage.rows)
        note = f"what was damaged ({names}) was mended by reading {again:,} tokens again"
        return _loaded(home, snapshot), again, note


def _loaded(home: Home, snapshot: Snapshot) -> ModelState:
    """A state as it was saved. Raises SnapshotDamaged, StateError; DeviceError where the GPU has no room for it."""
    with device_errors():
        return home.engine.restore(snapshot.tokens, home.snapshots.load(snapshot.id, home.engine.device))


def _mend(home: Home, block: int, end: int, ids: Sequence[int], damage: SnapshotDamaged) -> int:
    """Read the damaged page that ends after `end` tokens again; returns the tokens read.

    Raises `damage`, for this block alone, if the page does not come out as it was sealed.
    """
    start, chunk = end - layout.PAGE, home.engine.chunk
    first, stop = start // chunk * chunk, -(-end // chunk) * chunk  # by whole chunks, as it was read
    before = restore(home, damage.document, ids[:first]) if first else Restored(home.engine.empty(), "")
    state = before.state
    chunks = home.engine.read_chunks(state, ids[state.tokens : stop])
    while state.tokens < end:
        begun = state.tokens
        with home.turns.reading():
            state = next(chunks)
            latents.settle(state, home.settings, begun)
    names = ModelState.page_names(home.engine.config, start // layout.PAGE)
    tensors = {name: x for name, x in state.to_tensors().items() if name in names}
    if not home.snapshots.mend(block, tensors, latents.encoding(home.settings, page=True)):
        damage.blocks = (block,)
        raise damage
    return state.tokens - before.state.tokens + before.tokens_mended


def what_differs(one: Maker, other: Maker) -> str:
    """Which parts of two makers differ, in words."""
    differing = [words for part, words in WHAT_DIFFERS.items() if getattr(one, part) != getattr(other, part)]
    if latents.exact(one.model) == latents.exact(other.model):
        differing = ["precision of latents" if words == "model" else words for words in differing]
    return " and ".join(differing)


def _why(home: Home, document_id: str, snapshot: Snapshot, tokens: int) -> str:
    """Why this state, which was found, and not another."""
    if document_id in snapshot.documents:
        if snapshot.tokens == tokens:
            return FOUND
        return f"reading goes on after {snapshot.tokens:,} tokens saved earlier"
    titles = [f"“{document.title}”" for document in home.documents.list() if document.id in snapshot.documents]
    whose = titles[0] if titles else "another document"
    if snapshot.tokens == tokens:
        return f"{FOUND}: {whose} is read as the same tokens"
    alike = f"its first {snapshot.tokens:,} tokens are those of {whose}"
    return f"{alike}: kept up to the last state saved before the two part"


def _why_none(home: Home, document_id: str) -> str:
    """Why no saved state fits."""
    others = home.snapshots.find(document_id)
    if not others:
        evicted = home.snapshots.eviction(document_id)
        if evicted is None:
            return "not read before"
        return f"its state ({evicted.bytes / 1e6:,.1f} MB) had made room for others and is read again"
    maker, other = maker_of(home.engine), others[-1].maker
    return f"the saved state was made with a different {what_differs(other, maker) or 'text'}"
