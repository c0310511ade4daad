"""Reading a document into saved state, durably: what is read is committed as reading goes on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app import dialogue, states
from app.errors import ReadingStopped
from app.home import Home
from model.engine import CHUNK
from model.state import ModelState
from storage.documents import Document, SkippedPart

COMMIT_TOKENS = 16_384
COMMIT_SECONDS = 30.0
"""At most this much reading is lost by a crash, whichever is less."""


@dataclass(frozen=True)
class Progress:
    """Tokens in state so far and in all; seconds_left is None until there is a speed to judge by."""

    done: int
    total: int
    tokens_per_second: float
    seconds_left: float | None


@dataclass(frozen=True)
class ReadResult:
    """What reading did. tokens = tokens_reused + tokens_read; reason says why those were reused or not."""

    document: str
    title: str
    tokens: int
    tokens_read: int
    tokens_reused: int
    reason: str
    seconds: float
    state_bytes: int
    skipped: tuple[SkippedPart, ...]


OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


def read(
    home: Home,
    document_id: str,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> ReadResult:
    """Bring a document into saved state, going on from whatever is saved already.

    Raises ReadingStopped when `should_stop` says so (progress is saved), ModelError and StorageError.
    """
    return read_state(home, document_id, on_progress, should_stop)[0]


def read_state(
    home: Home,
    document_id: str,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[ReadResult, ModelState]:
    """`read`, and the state itself: to be forked, never changed."""
    started = time.perf_counter()
    document = home.documents.get(document_id)
    ids = dialogue.document_ids(home.engine, home.documents.text(document_id))
    home.documents.set_tokens(document_id, len(ids))
    key = states.key_of(home.engine, ids)
    restored = states.restore(home, document_id, key)
    reused = restored.state.tokens
    state = restored.state
    if reused < len(ids):
        state = _Reading(home, document, key, on_progress, should_stop).run(state, ids)
    home.documents.touch(document_id)
    result = ReadResult(
        document=document_id,
        title=document.title,
        tokens=len(ids),
        tokens_read=len(ids) - reused,
        tokens_reused=reused,
        reason=restored.reason,
        seconds=time.perf_counter() - started,
        state_bytes=home.engine.state_bytes(len(ids)),
        skipped=document.skipped,
    )
    return result, state


class _Reading:
    """One run over the tokens still to be read."""

    def __init__(
        self, home: Home, document: Document, key: states.SnapshotKey,
        on_progress: OnProgress | None, should_stop: ShouldStop | None,
    ) -> None:
        self.home, self.document, self.key = home, document, key
        self.on_progress, self.should_stop = on_progress, should_stop

    def run(self, state: ModelState, ids: Sequence[int]) -> ModelState:
        """Read ids[state.tokens:], committing as it goes; the final state is saved as complete."""
        begun = time.perf_counter()
        first = saved_tokens = state.tokens
        saved_at = begun
        self._report(first, first, len(ids), begun)
        chunks = self.home.engine.read_chunks(state, ids[first:])
        while state.tokens < len(ids):
            with self.home.turns.reading():
                state = next(chunks)
            self._report(first, state.tokens, len(ids), begun)
            if state.tokens == len(ids):
                break
            stop = self.should_stop is not None and self.should_stop()
            due = state.tokens - saved_tokens > COMMIT_TOKENS - CHUNK or time.perf_counter() - saved_at > COMMIT_SECONDS
            if stop or due:
                states.save(self.home, self.document.id, self.key, state, complete=False)
                saved_tokens, saved_at = state.tokens, time.perf_counter()
            if stop:
                read_so_far = f"{state.tokens:,} of {len(ids):,} tokens"
                raise ReadingStopped(f"stopped after {read_so_far}; they are saved, and reading goes on from there")
        states.save(self.home, self.document.id, self.key, state, complete=True)
        return state

    def _report(self, first: int, done: int, total: int, begun: float) -> None:
        if self.on_progress is None:
            return
        seconds = time.perf_counter() - begun
        speed = (done - first) / seconds if done > first else 0.0
        self.on_progress(Progress(done, total, speed, (total - done) / speed if speed else None))
