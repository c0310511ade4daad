"""Reading a document: what it will take, how far it is, and the buttons that start, pause and end it."""

from collections.abc import Sequence

from app import library, room
from app.expected import Expected, expected
from app.home import Home
from app.library import DocumentInfo, Earlier
from app.words import ago, count, duration, size
from app.worker import ReadingJob, Worker
from ui.markup import button, dotted, facts, notice, safe

UNFINISHED = ("waiting", "reading")
LASTING = '<p class="or-quiet">Reading goes on when this page is closed, and after a restart of Onceread.</p>'
WORDS = {"waiting": "Waiting for its turn", "reading": "Reading", "paused": "Paused", "failed": "Stopped"}
RECENT = 8
"""Points of a job's pace that tell its speed now."""


def is_unfinished(info: DocumentInfo, job: ReadingJob | None) -> bool:
    """Whether a job of a document is still to be shown: it is read or waits, or stopped before the end."""
    return job is not None and job.state != "done" and not info.complete


def act(home: Home, worker: Worker, document_id: str, action: str) -> None:
    """Do what a button says. Raises NotFound for a document that is gone, or another person's."""
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


def percent(job: ReadingJob) -> float:
    """How much of a job is done."""
    return 100 * job.done / max(job.total, 1)


def tokens_per_second(pace: Sequence[tuple[int, float]]) -> float | None:
    """The speed of late; None until it was seen."""
    late = [speed for _, speed in pace[-RECENT:]]
    return len(late) / sum(1 / speed for speed in late) if late else None


def pace_words(job: ReadingJob) -> list[str]:
    """`812 tokens/s`, `2 min left`, as far as they are known; or why it stands still."""
    if job.state == "reading" and job.waiting:
        return [job.waiting]
    pace = tokens_per_second(job.pace)
    if job.state != "reading" or not pace or not job.total:
        return []
    return [f"{pace:,.0f} tokens/s", f"{duration((job.total - job.done) / pace)} left"]


def bar(job: ReadingJob, label: str) -> str:
    """A progress bar."""
    return (
        f'<div class="or-bar or-{safe(job.state)}" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent(job):.0f}" aria-label="{safe(label)}">'
        f'<span style="width: {percent(job):.1f}%"></span></div>'
    )


def panel(home: Home, worker: Worker, info: DocumentInfo) -> str:
    """The card between a document's title and its questions."""
    if info.complete:
        return ""
    job = worker.status(info.document.id)
    if job is None or job.state == "done":
        return _offer(expected(home, info), info)
    before = [other.document_id for other in worker.queue()]
    at = before.index(info.document.id) if info.document.id in before else 0
    return _progress(job, at)


def earlier_version(earlier: Earlier | None) -> str:
    """What is said of a document that looks like a new version of another."""
    if earlier is None:
        return ""
    remove = {"title": f"Remove “{earlier.title}”?", "confirm": "Remove", "danger": True,
              "words": "The earlier version’s text, saved state and conversations are gone then."}  # fmt: skip
    return (
        f'<p class="or-quiet or-small">It looks like a new version of “{safe(earlier.title)}”, which is kept too. '
        f'{button("open", "Open that", earlier.document, style="or-link")}'
        f'{button("remove", "Remove that", earlier.document, style="or-link", ask=remove)}</p>'
    )


def _offer(cost: Expected, info: DocumentInfo) -> str:
    costs = facts(
        [
            ("to read", count(cost.tokens - min(cost.tokens_reused, cost.tokens), "token")),
            ("in saved state already", count(cost.tokens_reused, "token") if cost.tokens_reused else ""),
            ("time", f"about {duration(cost.seconds)}"),
            ("saved state", size(cost.state_bytes)),
        ]
    )
    begun = "Go on reading" if info.tokens_read else "Read again" if info.evicted else "Read it"
    read = f'<p class="or-actions">{button("read", begun, style="or-primary")}</p>'
    return (
        f'<section class="or-panel" aria-label="Before reading">{costs}<p class="or-quiet">{safe(_why(info))}</p>'
        f"{_room(cost)}{notice(f'It cannot be read: {cost.over_budget}.') if cost.over_budget else read}</section>"
    )


def _why(info: DocumentInfo) -> str:
    if info.tokens_read:
        return "What was read of it is saved; reading goes on from there."
    if info.evicted:
        when = ago(info.evicted.evicted_at)
        return (
            f"Its saved state ({size(info.evicted.bytes)}) was removed {when} to make room for other documents. "
            "Its text and conversations are all here; to ask, it has to be read again."
        )
    return "It is read once; every question later starts from the saved state."


def _room(cost: Expected) -> str:
    """Whose saved states would make room."""
    if not cost.evicts or cost.over_budget:
        return ""
    return f'<p class="or-quiet">{safe(room.sentence(room.will_be_let_go(cost.evicts)))}</p>'


def _progress(job: ReadingJob, before: int) -> str:
    words = dotted(
        [
            WORDS[job.state],
            f"{job.done:,} of {count(job.total, 'token')}" if job.total else "",
            *pace_words(job),
            f"{count(before, 'document')} before it" if job.state == "waiting" and before else "",
        ]
    )
    going = {"waiting": "pause", "reading": "pause", "paused": "resume", "failed": "resume"}[job.state]
    labels = {"paused": "Go on", "failed": "Try again"}
    go = button(going, labels.get(job.state, "Pause"), style="or-primary" if going == "resume" else "")
    return (
        f'<section class="or-panel" aria-label="Reading">{bar(job, "Read so far")}'
        f'<p class="or-progress-facts">{safe(words)}</p>{notice(job.error or "")}'
        f"{LASTING if job.state in UNFINISHED else ''}"
        f'<p class="or-actions">{go}{button("cancel", "Cancel")}</p></section>'
    )
