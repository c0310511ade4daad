"""The library: what is being read and waits to be, and the documents there are."""

import time

from app import library, room
from app.home import Home
from app.library import DocumentInfo
from app.naming import told_apart
from app.roots import roots
from app.words import ago, count, duration, kind, size
from app.worker import ReadingJob, Worker
from ui.address import Address
from ui.gate import LARGEST_UPLOAD
from ui.markup import button, dotted, local, notice, safe
from ui.reading import bar, is_unfinished, pace_words, percent

STATES = {"waiting": "waiting", "paused": "paused", "failed": "stopped by an error"}

TOLD_SECONDS = 3600.0
"""So long the page says whose state made room."""

PASTE = {
    "title": "Paste a text",
    "fields": [
        {"name": "title", "label": "Title (else its first words)", "optional": True},
        {"name": "text", "label": "Text", "lines": 10},
    ],
    "confirm": "Add it",
}


def adding() -> str:
    """The buttons under the drop area."""
    allowed = roots()
    from_here = {
        "title": "From this computer",
        "words": f"A file or folder in {' or '.join(str(root) for root in allowed)}.",
        "fields": [{"name": "where", "label": "Path", "value": str(allowed[0]) if allowed else ""}],
        "confirm": "Add it",
    }
    return (
        f'<p class="or-actions or-adding" data-most="{LARGEST_UPLOAD}">'
        f"{local('upload', 'Choose files')}{button('paste', 'Paste text', ask=PASTE)}"
        f"{button('path', 'From a folder', ask=from_here) if allowed else ''}"
        f"{button('sample', 'Sample book')}</p>"
    )


def listing(home: Home, worker: Worker, chosen: str) -> str:
    """The queue, and the documents as cards that open them, newest first."""
    documents = home.documents.list()
    if not documents:
        return '<p class="or-quiet">Documents you add are listed here.</p>'
    infos = [library.info(home, document) for document in documents]
    called = told_apart(documents)
    queue = "".join(
        _job(info, job, called[info.document.id])
        for info, job in _unfinished(home, infos)
    )
    together = sum(info.complete for info in infos) > 1
    several = button("view", "Ask several", Address(chosen, view="several").query, style="or-link") if together else ""
    cards = "".join(
        _card(info, worker, called[info.document.id], info.document.id == chosen)
        for info in infos
    )
    queued = f'<h2 class="or-side-title">Reading</h2><ul class="or-queue">{queue}</ul>' if queue else ""
    recent = [info.evicted for info in infos if info.evicted and time.time() - info.evicted.evicted_at < TOLD_SECONDS]
    made = notice(room.sentence(room.was_let_go(room.named(home, recent))), "done")
    return (
        f'{queued}{made}<div class="or-side-head"><h2 class="or-side-title">Library</h2>{several}</div>'
        f'<nav class="or-library" aria-label="Documents">{cards}</nav>'
    )


def _unfinished(home: Home, infos: list[DocumentInfo]) -> list[tuple[DocumentInfo, ReadingJob]]:
    """Jobs that are not done, those being read first."""
    jobs = {job.document_id: job for job in home.jobs.list()}
    order = {"reading": 0, "waiting": 1, "paused": 2, "failed": 3}
    found = [(info, jobs[info.document.id]) for info in infos if info.document.id in jobs]
    left = [(info, job) for info, job in found if is_unfinished(info, job)]
    return sorted(left, key=lambda pair: (order[pair[1].state], pair[1].updated_at))


def _job(info: DocumentInfo, job: ReadingJob, title: str) -> str:
    id = info.document.id
    go = (
        button("pause", "Pause", id, hint=f"Pause reading {title}")
        if job.state in ("waiting", "reading")
        else button("resume", "Go on", id, hint=f"Go on reading {title}")
    )
    stop = button("cancel", "Cancel", id, hint=f"Cancel reading {title}")
    words = dotted([f"{percent(job):.0f} %" if job.total else "", *pace_words(job), STATES.get(job.state, "")])
    return (
        f'<li><span class="or-card-title">{safe(title)}</span>{bar(job, f"{title}: read so far")}'
        f'<span class="or-card-facts">{safe(words)}</span><span class="or-small">{go}{stop}</span></li>'
    )


def _card(info: DocumentInfo, worker: Worker, title: str, chosen: bool) -> str:
    document = info.document
    what = dotted(
        [
            kind(document.kind),
            count(document.pages, "page") if document.pages else "",
            count(document.tokens, "token") if document.tokens else count(document.chars, "character"),
        ]
    )
    state = dotted(
        [
            f"{size(info.state_bytes)} of state" if info.complete else state_of(info, worker),
            f"resumes in {duration(document.resume_seconds)}" if info.complete and document.resume_seconds else "",
            ago(document.last_used_at) if info.complete else "",
        ]
    )
    return (
        f'<button type="button" class="or-card" data-do="open" data-item="{safe(document.id)}"'
        f'{" aria-current=page" if chosen else ""}><span class="or-card-title">{safe(title)}</span>'
        f'<span class="or-card-facts">{safe(what)}</span><span class="or-card-facts">{safe(state)}</span></button>'
    )


def state_of(info: DocumentInfo, worker: Worker) -> str:
    """In a word or two: how much of a document is read."""
    if info.complete:
        return "read"
    job = worker.status(info.document.id)
    if (job is None or job.state == "done") and info.tokens_read and info.document.tokens:
        return f"{100 * info.tokens_read / info.document.tokens:.0f} % read"
    if job is None or job.state == "done":
        return "made room for others: read it again to ask" if info.evicted else "not read yet"
    if job.state == "reading":
        return f"reading, {percent(job):.0f} %"
    return STATES[job.state]
