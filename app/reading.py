"""Reading a document into saved state, durably: what is read is committed as reading goes on, and read by one alone."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from app import dialogue, latents, room, states
from app.errors import ReadingStopped
from app.home import Home
from model.engine import Engine
from model.handover import Handover
from model.state import ModelState
from storage.documents import Document, SkippedPart
from storage.snapshots import Eviction

COMMIT_TOKENS = 16_384
COMMIT_SECONDS = 30.0
"""At most this much reading is lost by a crash, whichever is less."""

ELSEWHERE = "waiting: another Onceread is reading it"

WAIT_SECONDS = 0.5
"""Between two looks at what another reader of the same text has done."""


@dataclass(frozen=True)
class Progress:
    """Tokens in state so far and in all; seconds_left is None until there is a speed to judge by. waiting: why reading
    stands still, if it does."""

    done: int
    total: int
    tokens_per_second: float
    seconds_left: float | None
    waiting: str = ""


@dataclass(frozen=True)
class ReadResult:
    """What reading did. tokens = tokens_reused + tokens_read; reason says why those were reused or not.

    evicted: other documents' states that had to make room.
    """

    document: str
    title: str
    tokens: int
    tokens_read: int
    tokens_reused: int
    reason: str
    seconds: float
    state_bytes: int
    skipped: tuple[SkippedPart, ...]
    evicted: tuple[Eviction, ...] = ()


OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


def read(
    home: Home,
    document_id: str,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> ReadResult:
    """Bring a document into saved state, going on from whatever is saved already.

    Where another program is reading the same text, this one waits for it and takes what it read.
    Raises ReadingStopped when `should_stop` says so (progress is saved), OncereadError where the state is larger than
    all states together may be, ModelError and StorageError.
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
    home.documents.touch(document_id)
    run = _Reading(home, document, states.prefixes_of(home.engine, ids), on_progress, should_stop)
    restored = states.restore(home, document_id, ids)
    mended, reason = restored.tokens_mended, restored.reason
    state = restored.state
    if state.tokens < len(ids):
        states.check_budget(home, len(ids))
        with run.alone() as waited:
            if waited:
                restored = states.restore(home, document_id, ids)
                reason = f"another Onceread was reading it; {restored.reason}"
            state = restored.state
            if state.tokens < len(ids):
                state = run.run(state, ids)
    if restored.shared and restored.state.tokens == len(ids):
        run.commit(state)
    read = min(len(ids), len(ids) - restored.state.tokens + mended)
    result = ReadResult(
        document=document_id,
        title=document.title,
        tokens=len(ids),
        tokens_read=read,
        tokens_reused=len(ids) - read,
        reason="; ".join(filter(None, [reason, room.was_let_go(room.named(home, run.evicted))])),
        seconds=time.perf_counter() - started,
        state_bytes=home.engine.state_bytes(len(ids)),
        skipped=document.skipped,
        evicted=tuple(run.evicted),
    )
    return result, state


def saved(home: Home, document_id: str) -> ReadResult | None:
    """What `read` does of a document whose state is saved to its end: nothing. None where there is something to do.

    The state is not taken up, so whether it is damaged only `read` says.
    """
    document = home.documents.get(document_id)
    tokens = home.snapshots.whole(document_id, states.maker_of(home.engine))
    if tokens is None:
        return None
    home.documents.touch(document_id)
    return nothing_read(home, document, tokens, states.FOUND)


def nothing_read(home: Home, document: Document, tokens: int, reason: str) -> ReadResult:
    """All of a document's tokens are in a state already."""
    size = home.engine.state_bytes(tokens)
    return ReadResult(document.id, document.title, tokens, 0, tokens, reason, 0.0, size, document.skipped)


def computes_beside(engine: Engine) -> bool:
    """Whether the model computes while Python goes on: a GPU does."""
    return engine.device.type == "cuda"


class _Reading:
    """One run over the tokens still to be read."""

    def __init__(
        self, home: Home, document: Document, prefixes: Mapping[int, str],
        on_progress: OnProgress | None, should_stop: ShouldStop | None,
    ) -> None:
        self.home, self.document, self.prefixes = home, document, prefixes
        self.on_progress, self.should_stop = on_progress, should_stop or (lambda: False)
        self.evicted: list[Eviction] = []
        self.saved_tokens = 0

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Wait until nobody else reads the same text with the same model; tells whether there was a wait."""
        maker, total = states.maker_of(self.home.engine), max(self.prefixes)
        name = f"read {maker.model} {self.prefixes[total]} {self.document.owner}"
        waited = False
        while True:
            with self.home.leases.hold(name) as ours:
                if ours:
                    yield waited
                    return
            waited = True
            usable = states.resumable(self.home.engine, self.prefixes)
            saved = self.home.snapshots.along(self.document.id, maker, usable)
            self._report(0, saved[0].tokens if saved else 0, total, time.perf_counter(), ELSEWHERE)
            if self.should_stop():
                raise ReadingStopped("stopped while another Onceread was reading it; what that one reads is saved")
            time.sleep(WAIT_SECONDS)

    def run(self, state: ModelState, ids: Sequence[int]) -> ModelState:
        """Read ids[state.tokens:], committing as it goes; the final state is saved as complete.

        A GPU is given the next chunk before what it computed of the last one is committed, and does not wait for that.
        """
        begun = time.perf_counter()
        first = self.saved_tokens = state.tokens
        saved_at = begun
        ahead = computes_beside(self.home.engine)
        waiting: Handover | None = None
        kept = set(states.checkpoints(self.home.engine, len(ids)))
        self._report(first, first, len(ids), begun)
        chunks = self.home.engine.read_chunks(state, ids[first:])
        while state.tokens < len(ids):
            before = state.tokens
            report = partial(self._report, first, before, len(ids), begun)
            with self.home.turns.reading(report):
                state = next(chunks)
                latents.settle(state, self.home.settings, before)
            if waiting is not None:
                self.commit(waiting)
                waiting, saved_at = None, time.perf_counter()
            self._report(first, self.saved_tokens if ahead else state.tokens, len(ids), begun)
            if state.tokens == len(ids):
                break
            stop = self.should_stop()
            due = (
                state.tokens in kept
                or state.tokens - self.saved_tokens > COMMIT_TOKENS - self.home.engine.chunk
                or time.perf_counter() - saved_at > COMMIT_SECONDS
            )
            if stop or due:
                waiting = Handover(state, self.saved_tokens)
                if stop or not ahead:
                    self.commit(waiting)
                    waiting, saved_at = None, time.perf_counter()
            if stop:
                read_so_far = f"{state.tokens:,} of {len(ids):,} tokens"
                raise ReadingStopped(f"stopped after {read_so_far}; they are saved, and reading goes on from there")
        self.commit(Handover(state, self.saved_tokens))
        if ahead:
            self._report(first, state.tokens, len(ids), begun)
        return state

    def commit(self, state: ModelState | Handover) -> None:
        """Save the state, and have others make room for it."""
        self.evicted += states.make_room(self.home, self.document.id, state.tokens - self.saved_tokens)
        states.save(self.home, self.document.id, self.prefixes, state)
        self.saved_tokens = state.tokens

    def _report(self, first: int, done: int, total: int, begun: float, waiting: str = "") -> None:
        if self.on_progress is None:
            return
        seconds = time.perf_counter() - begun
        speed = (done - first) / seconds if done > first else 0.0
        self.on_progress(Progress(done, total, speed, (total - done) / speed if speed else None, waiting))
