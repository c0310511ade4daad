"""`onceread list`, `show` and `remove`: the library."""

import argparse
from dataclasses import asdict
from typing import Any

from app import library
from app.commands.outcome import Command, Outcome, Stop
from app.coverage import in_words
from app.home import Home
from app.naming import names
from app.words import count, kind, size
from storage.jobs import ReadingJob


def register(command: Command) -> None:
    """Add the commands."""
    command("list", list_documents, "the library")
    parser = command("show", show, "a document and its coverage report")
    parser.add_argument("document", metavar="DOCUMENT")
    parser = command("remove", remove, "forget a document, its state and conversations")
    parser.add_argument("document", metavar="DOCUMENT")


def list_documents(home: Home, _options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread list`: the library."""
    infos = [library.info(home, document) for document in home.documents.list()]
    called = names(home)
    jobs = {job.document_id: job for job in home.jobs.list()}
    lines = [
        f"{info.document.id}  {_read_so_far(info):>22}  {size(info.state_bytes):>9}  {called[info.document.id]}"
        f"{_at_work(info, jobs.get(info.document.id))}"
        for info in infos
    ]
    facts = [_facts(info, jobs.get(info.document.id)) for info in infos]
    return {"documents": facts}, "\n".join(lines) or "The library is empty.", 0


def show(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread show`: one document and what of it could not be read."""
    info = library.info(home, home.documents.find(options.document))
    document = info.document
    conversations = home.conversations.list(document.id)
    job = home.jobs.get(document.id)
    parts = [asdict(segment) for segment in document.segments]
    text = "\n".join(
        [
            f"{document.title}  [{document.id}]",
            f"{kind(document.kind)}, {count(document.chars, 'character')} in {count(len(parts), 'part')}, "
            f"{_read_so_far(info)}, state {size(info.state_bytes)}{_at_work(info, job)}",
            *(f"conversation {talk.id}: {talk.title}" for talk in conversations),
        ]
    )
    facts = _facts(info, job) | {
        "parts": parts,
        "conversations": [{"id": talk.id, "title": talk.title} for talk in conversations],
    }
    report = library.covered(document)
    facts |= {"coverage": asdict(report), "outline": [asdict(each) for each in home.documents.outline(document.id)]}
    return facts, "\n".join([text, *(in_words(report) or ["Nothing was skipped."])]), 0


def remove(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread remove`: forget a document."""
    info = library.info(home, home.documents.find(options.document))
    library.remove(home, info.document.id)
    facts = {"document": info.document.id, "title": info.document.title, "state_bytes": info.state_bytes}
    return facts, f"Removed {info.document.title}; {size(info.state_bytes)} of state freed.", 0


def _at_work(info: library.DocumentInfo, job: ReadingJob | None) -> str:
    """What the page's background reader does with a document, or why it does nothing."""
    if job is None or job.state == "done" or info.complete:
        return ""
    states = {"waiting": "waits to be read", "reading": "being read"}
    return f"  ({job.waiting or job.error or states.get(job.state, job.state)})"


def _facts(info: library.DocumentInfo, job: ReadingJob | None) -> dict[str, Any]:
    document = info.document
    return {
        "document": document.id,
        "title": document.title,
        "kind": document.kind,
        "chars": document.chars,
        "pages": document.pages,
        "tokens": document.tokens,
        "tokens_read": info.tokens_read,
        "complete": info.complete,
        "state_bytes": info.state_bytes,
        "evicted": asdict(info.evicted) if info.evicted else None,
        "job": {"state": job.state, "waiting": job.waiting, "error": job.error} if job else None,
        "skipped": [asdict(skip) for skip in document.skipped],
    }


def _read_so_far(info: library.DocumentInfo) -> str:
    if info.complete:
        return f"{info.tokens_read:,} tokens"
    if info.tokens_read:
        return f"{info.tokens_read:,} of {info.document.tokens or 0:,} tokens"
    if info.evicted:
        return f"made room ({size(info.evicted.bytes)})"
    return "not read yet"
