"""Saved model states: named tensors, each row with its checksum, and a seal over the whole."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

from sqlalchemy import Select, delete, func, insert, select
from sqlalchemy.orm import Session
from torch import Tensor
from xxhash import xxh3_128_hexdigest

from storage import tensors as rows
from storage.database import Database
from storage.documents import find_document
from storage.errors import NotFound, SnapshotDamaged, StorageError
from storage.schema import DocumentRow, SnapshotRow, TensorRow

FORMAT = 1
"""How a state is laid out in rows. A snapshot of another format is not read."""


@dataclass(frozen=True)
class SnapshotKey:
    """What a state depends on: the model, the tokenizer, the prompt format, and the tokens read."""

    model: str
    tokenizer: str
    prompt_format: str
    prefix: str


@dataclass(frozen=True)
class Snapshot:
    """A saved state after `tokens` tokens. complete: at the end of its document. bytes: of all its tensors."""

    id: int
    document_id: str
    key: SnapshotKey
    tokens: int
    complete: bool
    bytes: int
    created_at: float
    last_used_at: float


@dataclass(frozen=True)
class Verdict:
    """What `verify` found about one snapshot: a problem in words for each damaged row, and rows that have no owner."""

    snapshot: int
    document: str
    damaged: tuple[str, ...]
    orphaned: tuple[str, ...]


class Snapshots:
    """The saved states of a library; at most one for each document and key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(
        self,
        document_id: str,
        key: SnapshotKey,
        tokens: int,
        complete: bool,
        tensors: Mapping[str, Tensor],
        unchanged: Iterable[str] = (),
    ) -> Snapshot:
        """Save a state in one transaction: write `tensors`, keep the rows named in `unchanged`, drop all others.

        Raises NotFound if the document is gone, StorageError if a row to keep is, StorageFull; ValueError for a tensor
        over 64 MiB. After an error the state saved before is as it was.
        """
        for name, tensor in tensors.items():
            rows.check_size(name, tensor)
        keep = set(unchanged) - tensors.keys()
        now = time.time()
        with self._database.writing() as session:
            find_document(session, document_id)
            row = session.scalar(_of(document_id, key))
            if row is None:
                row = SnapshotRow(
                    document_id=document_id, model=key.model, tokenizer=key.tokenizer, prompt_format=key.prompt_format,
                    prefix=key.prefix, format=FORMAT, tokens=0, complete=False, bytes=0, created_at=now,
                    last_used_at=now, seal="",
                )
                session.add(row)
                session.flush()
            _replace(session, row, tensors, keep)
            row.format, row.tokens, row.complete, row.last_used_at = FORMAT, tokens, complete, now
            of_snapshot = TensorRow.snapshot_id == row.id
            row.bytes = session.scalar(select(func.coalesce(func.sum(TensorRow.length), 0)).where(of_snapshot)) or 0
            row.seal = _seal(row, _checksums(session, row.id))
            session.flush()
            return _snapshot(row)

    def find(self, document_id: str) -> list[Snapshot]:
        """All snapshots of a document, the last used last."""
        of_document = select(SnapshotRow).where(SnapshotRow.document_id == document_id)
        with self._database.reading() as session:
            found = session.scalars(of_document.order_by(SnapshotRow.last_used_at, SnapshotRow.id))
            return [_snapshot(row) for row in found]

    def latest(self, document_id: str, key: SnapshotKey) -> Snapshot | None:
        """The state of a document under this key, if one is saved."""
        with self._database.reading() as session:
            row = session.scalar(_of(document_id, key))
            return _snapshot(row) if row else None

    def load(self, id: int) -> dict[str, Tensor]:
        """The tensors of a snapshot, on the CPU. Raises NotFound; SnapshotDamaged if anything is not as saved."""
        with self._database.reading() as session:
            row = _row(session, id)
            loaded, damaged = {}, []
            for saved in rows.read(session, id):
                if saved.intact:
                    loaded[saved.name] = saved.tensor()
                else:
                    damaged.append(saved.name)
            if damaged:
                raise SnapshotDamaged(row.document_id, damaged, f"is damaged ({', '.join(damaged)})")
            if problem := _whole(session, row):
                raise SnapshotDamaged(row.document_id, (), problem)
            return loaded

    def names(self, id: int) -> list[str]:
        """The names of a snapshot's tensors. Raises NotFound."""
        with self._database.reading() as session:
            _row(session, id)
            return sorted(_checksums(session, id))

    def touch(self, id: int) -> None:
        """Note that the snapshot is used now. Raises NotFound."""
        with self._database.writing() as session:
            _row(session, id).last_used_at = time.time()

    def remove(self, id: int) -> None:
        """Remove a snapshot and give its bytes back. Raises NotFound."""
        with self._database.writing() as session:
            session.delete(_row(session, id))
        self._database.shrink()

    def verify(self) -> list[Verdict]:
        """Check every row of every snapshot, and find rows whose snapshot or document is gone."""
        with self._database.reading() as session:
            documents = set(session.scalars(select(DocumentRow.id)))
            verdicts = []
            for row in session.scalars(select(SnapshotRow).order_by(SnapshotRow.id)).all():
                damaged = [f"{x.name}: checksum differs" for x in rows.read(session, row.id) if not x.intact]
                whole = _whole(session, row)
                if whole and not damaged:
                    damaged = [whole]
                orphaned = () if row.document_id in documents else sorted(_checksums(session, row.id))
                verdicts.append(Verdict(row.id, row.document_id, tuple(damaged), tuple(orphaned)))
            gone = select(TensorRow.snapshot_id).where(TensorRow.snapshot_id.not_in(select(SnapshotRow.id))).distinct()
            for id in session.scalars(gone).all():
                verdicts.append(Verdict(id, "", (), tuple(sorted(_checksums(session, id)))))
            return verdicts


def _of(document_id: str, key: SnapshotKey) -> Select[SnapshotRow]:
    facts = {"model": key.model, "tokenizer": key.tokenizer, "prompt_format": key.prompt_format, "prefix": key.prefix}
    return select(SnapshotRow).filter_by(document_id=document_id, **facts)


def _row(session: Session, id: int) -> SnapshotRow:
    row = session.get(SnapshotRow, id)
    if row is None:
        raise NotFound(f"no saved state {id}: it was removed; read the document again")
    return row


def _replace(session: Session, row: SnapshotRow, tensors: Mapping[str, Tensor], keep: set[str]) -> None:
    """Make the snapshot's rows exactly those of `tensors` and those it has under the names in `keep`."""
    if missing := sorted(keep - _checksums(session, row.id).keys()):
        raise StorageError(
            f"the saved state of document {row.document_id} changed meanwhile ({missing[0]} is gone): read it again"
        )
    session.execute(delete(TensorRow).where(TensorRow.snapshot_id == row.id, TensorRow.name.not_in(keep)))
    for name, tensor in tensors.items():
        session.execute(insert(TensorRow).values(snapshot_id=row.id, **rows.pack(name, tensor)))


def _checksums(session: Session, id: int) -> dict[str, str]:
    pairs = select(TensorRow.name, TensorRow.checksum).where(TensorRow.snapshot_id == id)
    return dict(session.execute(pairs).all())


def _whole(session: Session, row: SnapshotRow) -> str | None:
    """What is wrong with the snapshot as a whole: its format, its facts, a row lost or exchanged."""
    if row.format != FORMAT:
        return f"is in format {row.format}, this Onceread reads format {FORMAT}"
    if row.seal != _seal(row, _checksums(session, row.id)):
        return "does not fit its seal (a row or a fact was changed)"
    return None


def _seal(row: SnapshotRow, checksums: Mapping[str, str]) -> str:
    facts = [row.document_id, *astuple(_key(row)), row.tokens, row.complete, sorted(checksums.items())]
    return xxh3_128_hexdigest(json.dumps(facts).encode())


def _key(row: SnapshotRow) -> SnapshotKey:
    return SnapshotKey(row.model, row.tokenizer, row.prompt_format, row.prefix)


def _snapshot(row: SnapshotRow) -> Snapshot:
    return Snapshot(
        id=row.id, document_id=row.document_id, key=_key(row), tokens=row.tokens, complete=row.complete,
        bytes=row.bytes, created_at=row.created_at, last_used_at=row.last_used_at,
    )
