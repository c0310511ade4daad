"""The library: take documents in, say what reading them will cost, list them, remove them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app import dialogue, originals, room, states
from app.coverage import NOTE, Coverage, coverage
from app.errors import OncereadError
from app.extract import Extracted, Progress, Skip, extract
from app.home import Home
from app.prompts import PROMPT_FORMAT
from app.speed import speed
from storage.documents import Document, Heading, Segment, SkippedPart
from storage.integrity import Verdict, verify_facts, verify_texts
from storage.snapshots import Eviction


@dataclass(frozen=True)
class Earlier:
    """A document that a text is a new version of, by the name of its files."""

    document: str
    title: str


@dataclass(frozen=True)
class Estimate:
    """What reading would take, before anything is read.

    tokens_reused: in saved state already, of this text or of one that begins like it; extract_seconds: what getting the
    text took; known: the document that this text is already; update_of: the one it is a new version of; evicts: the
    titles of the documents whose state would have to make room, with its bytes; over_budget: why its state could not
    be kept at all.
    """

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
    outline: tuple[Heading, ...]
    coverage: Coverage
    extract_seconds: float
    known: Earlier | None
    update_of: Earlier | None
    evicts: tuple[tuple[str, int], ...]
    over_budget: str | None


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
    damaged, other facts that are, in words, and what the database says of its file."""

    snapshots: int
    damaged: tuple[Verdict, ...]
    orphaned: tuple[Verdict, ...]
    texts: tuple[str, ...]
    facts: tuple[str, ...]
    file: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether all is as it was saved."""
        return not (self.damaged or self.orphaned or self.texts or self.facts or self.file)


def estimate(
    home: Home, paths: Sequence[Path], on_progress: Progress | None = None, ocr_language: str | None = None
) -> Estimate:
    """Extract and count, without reading into state and without keeping anything. Raises SourceError, ModelError."""
    begun = time.perf_counter()
    extracted = extract(paths, on_progress, ocr_language)
    extract_seconds = time.perf_counter() - begun
    ids = dialogue.document_ids(home.engine, extracted.text)
    reused = states.reusable(home, ids).tokens
    known, update_of = _kin(home, extracted)
    evicted = [] if known else states.would_drop(home, len(ids))
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
        outline=_headings(extracted),
        coverage=coverage((part.path for part in extracted.parts), extracted.pages, _left_out(extracted)),
        extract_seconds=extract_seconds,
        known=known,
        update_of=update_of,
        evicts=room.named(home, evicted),
        over_budget=over_budget(home, len(ids)),
    )


def add(
    home: Home,
    paths: Sequence[Path],
    title: str | None = None,
    on_progress: Progress | None = None,
    ocr_language: str | None = None,
) -> Document:
    """Extract files, folders or archives into one document and keep its text; the same text is the same document.

    Raises SourceError and StorageError. Reading it into state is `reading.read`.
    """
    document = keep(home, extract(paths, on_progress, ocr_language), title)
    originals.keep(home, document.id, paths)
    return document


def keep(home: Home, extracted: Extracted, title: str | None = None) -> Document:
    """Store an extracted text with its places."""
    segments = [
        Segment(n, part.char_start, part.char_end, part.path, part.page, part.line_start)
        for n, part in enumerate(extracted.parts)
    ]
    return home.documents.add(
        title or extracted.title, extracted.kind, extracted.text, segments,
        [SkippedPart(*each) for each in _left_out(extracted)], extracted.pages, _headings(extracted), extracted.origin,
        extracted.digest,
    )


def covered(document: Document) -> Coverage:
    """How much of its sources a document holds."""
    skipped = ((part.path, part.reason) for part in document.skipped)
    return coverage((segment.path for segment in document.segments), document.pages, skipped)


def earlier_version(home: Home, document: Document) -> Earlier | None:
    """The newest other document made from files of the same names: this one may be its new version."""
    if not document.origin:
        return None
    before = (d for d in home.documents.list() if d.id != document.id and d.created_at <= document.created_at)
    return next((Earlier(each.id, each.title) for each in before if each.origin == document.origin), None)


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
    originals.remove(home, document_id)
    home.evidence.remove(document_id)


def _left_out(extracted: Extracted) -> list[tuple[str, str]]:
    """What a text does not hold and what was noticed, as storage keeps it."""
    left_out = [(skip.path, skip.reason) for skip in extracted.skipped]
    return left_out + [(path, NOTE + note) for path, note in extracted.notes]


def _headings(extracted: Extracted) -> tuple[Heading, ...]:
    return tuple(Heading(each.level, each.title, each.char_start) for each in extracted.outline)


def _kin(home: Home, extracted: Extracted) -> tuple[Earlier | None, Earlier | None]:
    """The document that this is already, and if it is none, the newest made from files of the same names."""
    documents = home.documents.list()
    for document in documents:
        same_text = document.chars == len(extracted.text) and home.documents.text(document.id) == extracted.text
        if same_text or (document.digest and document.digest == extracted.digest):
            return Earlier(document.id, document.title), None
    named = (document for document in documents if extracted.origin and document.origin == extracted.origin)
    return None, next((Earlier(each.id, each.title) for each in named), None)


def over_budget(home: Home, tokens: int) -> str | None:
    """Why the state of a text of so many tokens could not be kept, or None."""
    try:
        states.check_budget(home, tokens)
    except OncereadError as error:
        return str(error)
    return None


def check(home: Home) -> Check:
    """Verify everything the library keeps. Nothing is changed."""
    verdicts = home.snapshots.verify()
    damaged = tuple(verdict for verdict in verdicts if verdict.damaged)
    orphaned = tuple(verdict for verdict in verdicts if verdict.orphaned)
    count = len({verdict.snapshot for verdict in verdicts if verdict.kind == "state"})
    database = home.database
    texts, facts = tuple(verify_texts(database)), tuple(verify_facts(database))
    return Check(count, damaged, orphaned, texts, facts, tuple(database.problems()))
