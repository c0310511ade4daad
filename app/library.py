"""The library: take documents in, say what reading them will cost, list them, remove them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app import dialogue, states
from app.extract import Extracted, Progress, Skip, extract
from app.home import Home
from app.prompts import PROMPT_FORMAT
from app.speed import speed
from storage.documents import Document, Heading, Segment, SkippedPart


@dataclass(frozen=True)
class Estimate:
    """What reading would take, before anything is read. tokens_reused: already in saved state."""

    title: str
    kind: str
    chars: int
    pages: int | None
    tokens: int
    tokens_reused: int
    state_bytes: int
    seconds_estimate: float
    skipped: tuple[Skip, ...]
    notes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DocumentInfo:
    """A document and how much of it is in saved state for the model in use."""

    document: Document
    tokens_read: int
    complete: bool
    state_bytes: int


def estimate(home: Home, paths: Sequence[Path], on_progress: Progress | None = None) -> Estimate:
    """Extract and count, without reading into state and without keeping anything. Raises SourceError, ModelError."""
    extracted = extract(paths, on_progress)
    ids = dialogue.document_ids(home.engine, extracted.text)
    key = states.key_of(home.engine, ids)
    reused = _in_state(home, extracted.text, key)
    return Estimate(
        title=extracted.title,
        kind=extracted.kind,
        chars=len(extracted.text),
        pages=extracted.pages,
        tokens=len(ids),
        tokens_reused=reused,
        state_bytes=home.engine.state_bytes(len(ids)),
        seconds_estimate=speed(home).seconds(len(ids), reused),
        skipped=extracted.skipped,
        notes=extracted.notes,
    )


def add(home: Home, paths: Sequence[Path], title: str | None = None, on_progress: Progress | None = None) -> Document:
    """Extract files, folders or archives into one document and keep its text; the same text is the same document.

    Raises SourceError and StorageError. Reading it into state is `reading.read`.
    """
    return keep(home, extract(paths, on_progress), title)


def keep(home: Home, extracted: Extracted, title: str | None = None) -> Document:
    """Store an extracted text with its places."""
    segments = [
        Segment(n, part.char_start, part.char_end, part.path, part.page, part.line_start)
        for n, part in enumerate(extracted.parts)
    ]
    left_out = [SkippedPart(skip.path, skip.reason) for skip in extracted.skipped]
    noted = [SkippedPart(path, f"note: {note}") for path, note in extracted.notes]
    return home.documents.add(
        title or extracted.title, extracted.kind, extracted.text, segments, left_out + noted, extracted.pages,
        [Heading(each.level, each.title, each.char_start) for each in extracted.outline],
        extracted.origin, extracted.digest,
    )


def info(home: Home, document: Document) -> DocumentInfo:
    """How much of a document is in saved state that the model in use can go on from, and what all its states take."""
    saved = home.snapshots.find(document.id)
    fitting = [each for each in saved if (each.key.model, each.key.prompt_format) == (home.fingerprint, PROMPT_FORMAT)]
    best = max(fitting, key=lambda snapshot: (snapshot.complete, snapshot.tokens), default=None)
    size = sum(snapshot.bytes for snapshot in saved)
    return DocumentInfo(document, best.tokens if best else 0, best is not None and best.complete, size)


def remove(home: Home, document_id: str) -> None:
    """Forget a document: text, saved states, conversations, report cells."""
    home.jobs.remove(document_id)
    home.documents.remove(document_id)


def _in_state(home: Home, text: str, key: states.SnapshotKey) -> int:
    """Tokens of this text that are in saved state already."""
    for document in home.documents.list():
        if document.chars == len(text) and (snapshot := home.snapshots.latest(document.id, key)):
            return snapshot.tokens
    return 0
