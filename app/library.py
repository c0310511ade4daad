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
from storage.integrity import Verdict, verify_texts
from storage.snapshots import Eviction


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
    """A document and how much of it is in saved state for the model in use.

    state_bytes: of all its states; what they share counts once. evicted: what had to make room, if not read again yet.
    """

    document: Document
    tokens_read: int
    complete: bool
    state_bytes: int
    evicted: Eviction | None = None


@dataclass(frozen=True)
class Check:
    """What verifying the library found: states in all, damaged ones, rows without an owner, documents whose text is
    damaged, and what the database says of its file."""

    snapshots: int
    damaged: tuple[Verdict, ...]
    orphaned: tuple[Verdict, ...]
    texts: tuple[str, ...]
    file: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether all is as it was saved."""
        return not (self.damaged or self.orphaned or self.texts or self.file)


def estimate(home: Home, paths: Sequence[Path], on_progress: Progress | None = None) -> Estimate:
    """Extract and count, without reading into state and without keeping anything. Raises SourceError, ModelError."""
    extracted = extract(paths, on_progress)
    ids = dialogue.document_ids(home.engine, extracted.text)
    reused = states.reusable(home, ids).tokens
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
    in_use = (home.fingerprint, PROMPT_FORMAT)
    fitting = [each for each in saved if (each.maker.model, each.maker.prompt_format) == in_use]
    best = max(fitting, key=lambda snapshot: (snapshot.complete, snapshot.tokens), default=None)
    return DocumentInfo(
        document, best.tokens if best else 0, best is not None and best.complete, home.snapshots.bytes(document.id),
        home.snapshots.eviction(document.id),
    )


def remove(home: Home, document_id: str) -> None:
    """Forget a document: text, saved states, conversations, report cells."""
    home.jobs.remove(document_id)
    home.documents.remove(document_id)
    home.evidence.remove(document_id)


def check(home: Home) -> Check:
    """Verify everything the library keeps. Nothing is changed."""
    verdicts = home.snapshots.verify()
    damaged = tuple(verdict for verdict in verdicts if verdict.damaged)
    orphaned = tuple(verdict for verdict in verdicts if verdict.orphaned)
    count = len({verdict.snapshot for verdict in verdicts if verdict.kind == "state"})
    return Check(count, damaged, orphaned, tuple(verify_texts(home.database)), tuple(home.database.problems()))
