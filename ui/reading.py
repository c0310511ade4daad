"""Reading a document: what it will take, how far it is, and the buttons that start, pause and end it."""

from dataclasses import dataclass

from app import dialogue, library
from app.home import Home
from app.library import DocumentInfo
from app.speed import speed
from app.worker import ReadingJob, Worker
from ui.markup import button, count, dotted, duration, notice, safe, size

UNFINISHED = ("waiting", "reading")
LASTING = '<p class="or-quiet">Reading goes on when this page is closed, and after a restart of Onceread.</p>'
WORDS = {"waiting": "Waiting for its turn", "reading": "Reading", "paused": "Paused", "failed": "Stopped"}


@dataclass(frozen=True)
class Expected:
    """What reading the rest of a document will take."""

    tokens: int
    state_bytes: int
    seconds: float


def expected(home: Home, info: DocumentInfo) -> Expected:
    """Count a stored document's tokens (once; the number is kept) and tell time and state from them."""
    document = info.document
    tokens = document.tokens
    if tokens is None:
        tokens = len(dialogue.document_ids(home.engine, home.documents.text(document.id)))
        home.documents.set_tokens(document.id, tokens)
    done = min(info.tokens_read, tokens)
    return Expected(tokens, home.engine.state_bytes(tokens), speed(home).seconds(tokens, done))


def is_busy(worker: Worker, document_id: str) -> bool:
    """Whether a document waits to be read or is being read."""
    job = worker.status(document_id)
    return job is not None and job.state in UNFINISHED


def act(home: Home, worker: Worker, document_id: str, action: str) -> None:
    """Do what a button of `panel` says. Raises NotFound for a document that is gone."""
    home.documents.get(document_id)
    if action == "read":
        worker.submit(document_id)
    elif action == "pause":
        worker.pause(document_id)
    elif action == "resume":
        worker.resume(document_id)
    elif action == "cancel":
        worker.cancel(document_id)
    elif action == "remove":
        worker.cancel(document_id)
        library.remove(home, document_id)


class Paces:
    """How fast documents are being read, from the job rows seen so far."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, float]] = {}

    def tokens_per_second(self, job: ReadingJob) -> float | None:
        """The speed since this run of the job was first seen; None until it moved."""
        done, at = self._first.get(job.document_id, (job.done, job.updated_at))
        if job.state != "reading" or job.done < done:
            done, at = job.done, job.updated_at
        self._first[job.document_id] = (done, at)
        return (job.done - done) / (job.updated_at - at) if job.done > done and job.updated_at > at else None


def panel(home: Home, worker: Worker, info: DocumentInfo, paces: Paces) -> str:
    """The card between a document's title and its questions."""
    if info.complete:
        return ""
    job = worker.status(info.document.id)
    if job is None or job.state == "done":
        return _offer(expected(home, info), info)
    return _progress(home, job, paces.tokens_per_second(job))


def _offer(cost: Expected, info: DocumentInfo) -> str:
    begun = f"{count(info.tokens_read, 'token')} are read already" if info.tokens_read else ""
    facts = [
        ("to read", count(cost.tokens, "token")),
        ("time", f"about {duration(cost.seconds)}"),
        ("saved state", size(cost.state_bytes)),
    ]
    cells = "".join(f"<div><dt>{safe(name)}</dt><dd>{safe(value)}</dd></div>" for name, value in facts)
    return (
        f'<section class="or-panel" aria-label="Before reading"><dl class="or-facts">{cells}</dl>'
        f'<p class="or-quiet">{safe(begun or "It is read once; every question later starts from the saved state.")}</p>'
        f'<p class="or-actions">{button("read", "Go on reading" if begun else "Read it", style="or-primary")}</p>'
        "</section>"
    )


def _progress(home: Home, job: ReadingJob, pace: float | None) -> str:
    underway = job.state in UNFINISHED
    percent = 100 * job.done / max(job.total, 1)
    facts = dotted(
        [
            WORDS[job.state],
            f"{job.done:,} of {count(job.total, 'token')}" if job.total else "",
            f"{pace:,.0f} tokens/s" if pace else "",
            f"{duration(_left(home, job, pace))} left" if job.state == "reading" and job.total else "",
        ]
    )
    actions = {
        "waiting": [button("pause", "Pause"), button("cancel", "Cancel")],
        "reading": [button("pause", "Pause"), button("cancel", "Cancel")],
        "paused": [button("resume", "Resume", style="or-primary"), button("cancel", "Cancel")],
        "failed": [button("resume", "Try again", style="or-primary"), button("cancel", "Cancel")],
    }[job.state]
    return (
        f'<section class="or-panel" aria-label="Reading"><div class="or-bar or-{safe(job.state)}" role="progressbar" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent:.0f}" aria-label="Read so far">'
        f'<span style="width: {percent:.1f}%"></span></div>'
        f'<p class="or-progress-facts">{safe(facts)}</p>{notice(job.error or "")}{LASTING if underway else ""}'
        f'<p class="or-actions">{"".join(actions)}</p></section>'
    )


def _left(home: Home, job: ReadingJob, pace: float | None) -> float:
    """Seconds to the end: by the pace seen, or by the machine's measured speed before there is one."""
    return (job.total - job.done) / pace if pace else speed(home).seconds(job.total, job.done)
