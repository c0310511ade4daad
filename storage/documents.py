"""Documents: their facts, their text, and where each part of the text came from."""

import difflib
import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from sqlalchemy import ColumnElement, delete, select, true
from sqlalchemy.orm import Session, joinedload

from storage import blocks
from storage.database import Database
from storage.errors import DatabaseDamaged, NotFound, StorageError
from storage.schema import ComposedOfRow, ComposedRow, ContentRow, DocumentRow, OutlineRow

ID_LENGTH = 12
MOST_BYTES = 999_000_000
"""SQLite holds at most 1e9 bytes in a row."""


@dataclass(frozen=True)
class Segment:
    """text[char_start:char_end] came from this file, this page (from 1, if there are pages), from this line on."""

    index: int
    char_start: int
    char_end: int
    path: str
    page: int | None
    line_start: int


@dataclass(frozen=True)
class Heading:
    """A heading: its depth (1 is the highest), its words, and where in the text it begins."""

    level: int
    title: str
    char_start: int


@dataclass(frozen=True)
class SkippedPart:
    """Something that could not be read, and why."""

    path: str
    reason: str


DAMAGED_FACTS = SkippedPart("", "its title or other facts are damaged: remove the document and add its files again")
DAMAGED = SkippedPart("", "where its parts come from is damaged: remove the document and add its files again")


@dataclass(frozen=True)
class Document:
    """A document without its text. Times are seconds since 1970; tokens is None until they were counted.

    resume_seconds: from a question to the first token when it was last asked from saved state, None before.
    text_hash: of the text and, if it has one, its owner, so that two people's copies of a book are two documents.
    origin: the names of what it was made from, by which a new version is known; digest: the hash of the bytes read.
    """

    id: str
    title: str
    kind: str
    text_hash: str
    chars: int
    tokens: int | None
    pages: int | None
    created_at: float
    last_used_at: float
    owner: str
    resume_seconds: float | None
    origin: str
    digest: str
    segments: tuple[Segment, ...]
    skipped: tuple[SkippedPart, ...]


class Documents:
    """The documents of a library, or those that one person owns."""

    def __init__(self, database: Database, owner: str | None = None) -> None:
        """owner: whose documents these are; the others are as if they were not there. None: everybody's."""
        self._database = database
        self._owner = owner

    def add(
        self,
        title: str,
        kind: str,
        text: str,
        segments: Iterable[Segment],
        skipped: Iterable[SkippedPart],
        pages: int | None,
        outline: Iterable[Heading] = (),
        origin: str = "",
        digest: str = "",
    ) -> Document:
        """Keep a text. The same text, or one made of the same bytes, gives the document there is.

        Raises StorageError if it is too large.
        """
        data = text.encode("utf-8", "surrogatepass")
        if len(data) > MOST_BYTES:
            raise StorageError(f"the text has {len(data):,} bytes, more than {MOST_BYTES:,}: split it into documents")
        text_hash = _hash(self._owner or "", data)
        content = ContentRow(segments=_pack(segments), skipped=json.dumps([astuple(s) for s in skipped]), text=data)
        headings = [astuple(heading) for heading in outline]
        now = time.time()
        with self._database.writing() as session:
            row = session.scalar(select(DocumentRow).where(DocumentRow.text_hash == text_hash))
            if row is None and digest:
                row = session.scalar(select(DocumentRow).where(self._mine, DocumentRow.digest == digest))
            if row is None:
                row = DocumentRow(
                    id=_free_id(session, text_hash), title=title, kind=kind, text_hash=text_hash, chars=len(text),
                    tokens=None, pages=pages, created_at=now, last_used_at=now, owner=self._owner or "",
                    origin=origin, digest=digest, content=content,
                    outline=OutlineRow(headings=json.dumps(headings)) if headings else None,
                )
                session.add(row)
                session.flush()
                session.refresh(row)
            return _document(row)

    def get(self, id: str) -> Document:
        """The document of an id. Raises NotFound."""
        with self._database.reading() as session:
            return _document(find_document(session, id, self._owner))

    def text(self, id: str) -> str:
        """A document's whole text. Raises NotFound; DatabaseDamaged if it is not what was stored."""
        with self._database.reading() as session:
            row = find_document(session, id, self._owner)
            data = session.scalar(select(ContentRow.text).where(ContentRow.document_id == id))
        if data is None or _hash(row.owner, data) != row.text_hash:
            raise DatabaseDamaged(f"the text of document {id} is damaged: remove the document and add its file again")
        return data.decode("utf-8", "surrogatepass")

    def outline(self, id: str) -> tuple[Heading, ...]:
        """A document's headings, in the order of the text. Raises NotFound."""
        with self._database.reading() as session:
            row = find_document(session, id, self._owner).outline
            return tuple(Heading(*heading) for heading in json.loads(row.headings)) if row and row.intact else ()

    def list(self) -> list[Document]:
        """All documents, newest first."""
        newest_first = select(DocumentRow).where(self._mine).order_by(DocumentRow.created_at.desc(), DocumentRow.id)
        with self._database.reading() as session:
            rows = session.scalars(newest_first.options(joinedload(DocumentRow.content)))
            return [_document(row) for row in rows]

    def find(self, name: str) -> Document:
        """The document that a person means: by id, unique beginning of an id, or exact title.

        Raises NotFound, which names what is near, or the ids that `name` could mean.
        """
        with self._database.reading() as session:
            titles = dict(session.execute(select(DocumentRow.id, DocumentRow.title).where(self._mine)).all())
        begun = [id for id in titles if name and id.startswith(name.lower())]
        titled = [id for id, title in titles.items() if title == name]
        if name in titles:
            return self.get(name)
        for ids in (begun, titled):
            if len(ids) == 1:
                return self.get(ids[0])
        if several := begun or titled:
            listed = ", ".join(f"{id} ({titles[id]})" for id in sorted(several)[:5])
            raise NotFound(f"{name!r} could be any of {len(several)} documents: {listed}; say more of the id")
        raise NotFound(f"no document {name!r}{_near(name, titles.values())}")

    def set_tokens(self, id: str, n: int) -> None:
        """Note how many tokens the document has. Raises NotFound."""
        with self._database.writing() as session:
            find_document(session, id, self._owner).tokens = n

    def touch(self, id: str) -> None:
        """Note that the document is used now. Raises NotFound."""
        with self._database.writing() as session:
            find_document(session, id, self._owner).last_used_at = time.time()

    def set_resume_seconds(self, id: str, seconds: float) -> None:
        """Note how long it took from a question to the first token, from saved state. Raises NotFound."""
        with self._database.writing() as session:
            find_document(session, id, self._owner).resume_seconds = seconds

    def rename(self, id: str, title: str) -> None:
        """Give the document another title. Raises NotFound."""
        with self._database.writing() as session:
            find_document(session, id, self._owner).title = title

    def remove(self, id: str) -> None:
        """Remove a document and all that belongs to it, and give the bytes back. Raises NotFound."""
        with self._database.writing() as session:
            row = find_document(session, id, self._owner)
            quoting = select(ComposedOfRow.composed_id).where(ComposedOfRow.document_id == id)
            session.execute(delete(ComposedRow).where(ComposedRow.id.in_(quoting)))
            session.delete(row)
            session.flush()
            blocks.sweep(session)  # what other documents' states stand on stays
        self._database.shrink()

    def give(self, id: str, owner: str) -> None:
        """Make the document another person's. Raises NotFound, and StorageError if they have this text already."""
        with self._database.writing() as session:
            row = find_document(session, id, self._owner)
            data = session.scalar(select(ContentRow.text).where(ContentRow.document_id == id)) or b""
            text_hash = _hash(owner, data)
            if session.scalar(select(DocumentRow.id).where(DocumentRow.text_hash == text_hash, DocumentRow.id != id)):
                raise StorageError(f"{owner} has the text of {row.title!r} already")
            row.owner, row.text_hash = owner, text_hash

    @property
    def _mine(self) -> ColumnElement[bool]:
        return true() if self._owner is None else DocumentRow.owner == self._owner


def find_document(session: Session, id: str, owner: str | None = None) -> DocumentRow:
    """The row of a document; another person's is as if it was not there. Raises NotFound."""
    row = session.get(DocumentRow, id)
    if row is None or owner not in (None, row.owner):
        raise NotFound(f"no document {id}: it was removed, or never was in this library")
    return row


def _hash(owner: str, data: bytes) -> str:
    """What tells a text of an owner from all others; without an owner, the text's own SHA-256."""
    return hashlib.sha256(owner.encode() + b"\0" + data if owner else data).hexdigest()


def _free_id(session: Session, text_hash: str) -> str:
    """The shortest beginning of the hash that is nobody else's, of at least ID_LENGTH."""
    lengths = range(ID_LENGTH, len(text_hash) + 1)
    return next(text_hash[:n] for n in lengths if session.get(DocumentRow, text_hash[:n]) is None)


def _near(name: str, titles: Iterable[str]) -> str:
    """A hint: titles like `name`, or where to look."""
    known = {title.casefold(): title for title in titles}
    close = difflib.get_close_matches(name.casefold(), known, n=3, cutoff=0.5)
    holding = [folded for folded in known if name and name.casefold() in folded]
    near = [repr(known[folded]) for folded in dict.fromkeys(close + holding)][:3]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return "; `onceread list` shows what there is" if known else "; the library is empty"


def _document(row: DocumentRow) -> Document:
    segments: tuple[Segment, ...] = (Segment(0, 0, row.chars, "(where this is from is damaged)", None, 1),)
    skipped: tuple[SkippedPart, ...] = (DAMAGED,)
    if row.content is not None and row.content.intact:
        segments = _unpack(row.content.segments)
        skipped = tuple(SkippedPart(*part) for part in json.loads(row.content.skipped))
    if not row.intact:
        skipped = (*skipped, DAMAGED_FACTS)
    return Document(
        id=row.id, title=row.title if row.intact else f"{row.title} (damaged)", kind=row.kind,
        text_hash=row.text_hash, chars=row.chars, tokens=row.tokens, pages=row.pages,
        created_at=row.created_at, last_used_at=row.last_used_at,
        owner=row.owner, resume_seconds=row.resume_seconds, origin=row.origin, digest=row.digest,
        segments=segments, skipped=skipped,
    )


def _pack(segments: Iterable[Segment]) -> str:
    """Segments as JSON; each path is written once (a book has one path and hundreds of pages)."""
    segments = list(segments)
    numbers = {path: n for n, path in enumerate(dict.fromkeys(s.path for s in segments))}
    places = [[s.index, s.char_start, s.char_end, numbers[s.path], s.page, s.line_start] for s in segments]
    return json.dumps([list(numbers), places], separators=(",", ":"))


def _unpack(packed: str) -> tuple[Segment, ...]:
    paths: Sequence[str]
    paths, places = json.loads(packed)
    return tuple(Segment(n, start, end, paths[path], page, line) for n, start, end, path, page, line in places)
