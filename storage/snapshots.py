"""Saved model states: named tensors in blocks that texts with the same beginning share, checksummed and sealed."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from torch import Tensor, device

from storage import blocks
from storage import tensors as rows
from storage.blocks import Maker, Piece
from storage.database import Database
from storage.documents import find_document
from storage.errors import NotFound, SnapshotDamaged
from storage.integrity import Verdict, verify_states
from storage.schema import BlockRow, DocumentRow, EvictionRow, ReadingRow

READERS = 2 if (os.cpu_count() or 1) < 8 else 4
"""Blocks loaded at once: one waits for the disk, for memory to be cleared, or for its way onto a GPU, while another is
copied and checked."""


@dataclass(frozen=True)
class Snapshot:
    """A saved state after `tokens` tokens whose hash is `prefix`. bytes: of its tensors, with those of its pages.

    documents: whose state it is. complete: whether it is at the end of the document it was asked for.
    """

    id: int
    documents: tuple[str, ...]
    maker: Maker
    prefix: str
    tokens: int
    complete: bool
    bytes: int
    created_at: float
    last_used_at: float


@dataclass(frozen=True)
class Eviction:
    """A document's state that had to make room. bytes: given back; tokens: to be read again when it is asked about."""

    document_id: str
    bytes: int
    tokens: int
    evicted_at: float


@dataclass(frozen=True)
class _Faults:
    """What is wrong with a block: the names of its damaged rows; in words, what is with the whole."""

    rows: tuple[str, ...]
    whole: str


class Snapshots:
    """The saved states of a library. Rows are shared by all; who finds whose states is not."""

    def __init__(self, database: Database, owner: str | None = None) -> None:
        """owner: as for `Documents`."""
        self._database = database
        self._owner = owner

    def save(
        self,
        document_id: str,
        maker: Maker,
        pages: Sequence[Piece],
        end: Piece,
        complete: bool,
        keep: Iterable[str] = (),
    ) -> Snapshot:
        """Save a state in one transaction: its full pages, and the rest of it. What is there already is not written.

        Of the document's earlier states under this maker only those whose prefixes are in `keep` stay; states of other
        documents with these prefixes become the document's too. Raises NotFound if the document is gone, StorageFull;
        ValueError for a tensor over 64 MiB. After an error everything is as it was.
        """
        for piece in (*pages, end):
            for name, tensor in piece.tensors.items():
                rows.check_size(name, tensor)
        now = time.time()
        with self._database.writing() as session:
            find_document(session, document_id)
            parent: BlockRow | None = None
            for page in pages:
                parent = blocks.put(session, maker, "page", page, parent, now)
            row = blocks.put(session, maker, "state", end, parent, now)
            row.last_used_at = now
            session.flush()
            session.merge(ReadingRow(document_id=document_id, block_id=row.id, complete=complete))
            session.flush()
            _keep_only(session, document_id, maker, {*keep, end.prefix})
            session.execute(delete(EvictionRow).where(EvictionRow.document_id == document_id))
            return _snapshot(session, row, document_id)

    def find(self, document_id: str) -> list[Snapshot]:
        """All states of a document, the last used last and of those the furthest."""
        of_document = select(BlockRow).join(ReadingRow).where(ReadingRow.document_id == document_id)
        with self._database.reading() as session:
            found = session.scalars(of_document.order_by(BlockRow.last_used_at, BlockRow.tokens, BlockRow.id)).all()
            return [_snapshot(session, row, document_id) for row in found]

    def whole(self, document_id: str, maker: Maker) -> int | None:
        """After how many tokens the state ends that has read all of a document; None if there is none. Nothing of it is
        loaded or checked."""
        ends = blocks.of(maker).join(ReadingRow).where(ReadingRow.document_id == document_id, ReadingRow.complete)
        with self._database.reading() as session:
            row = session.scalar(ends)
            return row.tokens if row else None

    def along(self, document_id: str, maker: Maker, prefixes: Mapping[int, str]) -> list[Snapshot]:
        """Every state after tokens that begin this document, the furthest first: its own and those of its owner's other
        documents. Other people's are not found, so that nobody learns what they read.

        prefixes: the hash of the document's first n tokens, for every n at which a state is of use.
        """
        states = blocks.of(maker).where(BlockRow.kind == "state", BlockRow.tokens <= max(prefixes, default=0))
        with self._database.reading() as session:
            document = session.get(DocumentRow, document_id)
            owner = document.owner if document else self._owner
            if owner is not None:
                theirs = select(ReadingRow.block_id).join(DocumentRow).where(DocumentRow.owner == owner)
                states = states.where(BlockRow.id.in_(theirs))
            found = session.scalars(states.order_by(BlockRow.tokens.desc())).all()
            return [_snapshot(session, row, document_id) for row in found if prefixes.get(row.tokens) == row.prefix]

    def load(self, id: int, onto: device | str = "cpu") -> dict[str, Tensor]:
        """The tensors of a state, on a device. Raises NotFound; SnapshotDamaged if anything is not as saved.

        A block never changes, so each is loaded in a transaction of its own, and writers need not wait for the whole.
        A tensor goes onto the device when it has been checked, while others are being read.
        """
        with self._database.reading() as session:
            _row(session, id)
            ids = [row.id for row in blocks.chain(session, id)]
        loaded: dict[str, Tensor] = {}
        faults: dict[int, _Faults] = {}
        with ThreadPoolExecutor(READERS, "load") as readers:
            found = readers.map(lambda block_id: self._load_block(block_id, onto), ids)
            for block_id, (tensors, fault) in zip(ids, found, strict=True):
                loaded |= tensors
                faults |= {block_id: fault} if fault else {}
        if faults:
            names = [name for fault in faults.values() for name in fault.rows]
            what = f"is damaged ({', '.join(names)})" if names else next(iter(faults.values())).whole
            with self._database.reading() as session:
                raise SnapshotDamaged(_owner(session, id), names, what, list(faults))
        return loaded

    def _load_block(self, id: int, onto: device | str) -> tuple[dict[str, Tensor], "_Faults | None"]:
        """The sound tensors of a block, and what is wrong with it."""
        with self._database.reading() as session:
            row = session.get(BlockRow, id)
            if row is None:
                raise NotFound("this saved state was removed meanwhile: read the document again")
            saved = list(rows.read(session, id))
            damaged = tuple(each.name for each in saved if not each.intact)
            parent = session.get(BlockRow, row.parent_id) if row.parent_id else None
            whole = blocks.problem(session, row, parent.seal if parent else "")
        tensors = {each.name: each.tensor().to(onto) for each in saved if each.intact}
        return tensors, _Faults(damaged, whole or "") if damaged or whole else None

    def place(self, block_id: int) -> tuple[str, int] | None:
        """The kind of a block and the tokens it ends after, if it is still there."""
        with self._database.reading() as session:
            row = session.get(BlockRow, block_id)
            return (row.kind, row.tokens) if row else None

    def mend(self, block_id: int, tensors: Mapping[str, Tensor], encoding: rows.Encoding = "raw") -> bool:
        """Write a damaged block's tensors anew, if they are the very ones that were sealed; else change nothing."""
        try:
            with self._database.writing() as session:
                row = _row(session, block_id)
                parent = session.get(BlockRow, row.parent_id) if row.parent_id else None
                blocks.write_tensors(session, row, tensors, encoding)
                if blocks.problem(session, row, parent.seal if parent else ""):
                    raise NotFound("other tensors were sealed")
        except NotFound:
            return False
        return True

    def touch(self, document_id: str, id: int) -> None:
        """Note that a document uses this state now. Raises NotFound."""
        with self._database.writing() as session:
            row = _row(session, id)
            find_document(session, document_id)
            row.last_used_at = time.time()

    def discard(self, ids: Iterable[int]) -> None:
        """Remove blocks and everything that stands on them, and give their bytes back."""
        with self._database.writing() as session:
            session.execute(delete(BlockRow).where(BlockRow.id.in_(list(ids))))
            blocks.sweep(session)
        self._database.shrink()

    def sweep(self) -> int:
        """Remove what no document uses any more, give the bytes back, and say how many."""
        with self._database.writing() as session:
            freed = blocks.sweep(session)
        self._database.shrink()
        return freed

    def bytes(self, document_id: str | None = None) -> int:
        """Bytes of all saved states, or of a document's; what states share counts once."""
        with self._database.reading() as session:
            if document_id is None:
                return _bytes(session)
            used = select(ReadingRow.block_id).where(ReadingRow.document_id == document_id)
            own = {row.id: row.bytes for id in session.scalars(used).all() for row in blocks.chain(session, id)}
            return sum(own.values())

    def verify(self) -> list[Verdict]:
        """Check every row of every block, and find those without an owner."""
        return verify_states(self._database)

    def evict(self, budget: int, incoming: int, spare: str, maker: Maker, really: bool = True) -> list[Eviction]:
        """Make room for `incoming` bytes within `budget`: drop the states of the documents used longest ago.

        The states of `spare`, the document that the room is for, go last, and those under `maker` stay. Documents,
        texts and conversations are never touched. States that free nothing (the spared ones stand on all of them) stay.
        Returns what was dropped, for people to see; what would be, and nothing is, if not `really`.
        """
        evicted: list[Eviction] = []
        with self._database.writing() as session:
            over = _bytes(session) + incoming - budget
            with_state = select(DocumentRow.id).where(DocumentRow.id.in_(select(ReadingRow.document_id)))
            oldest = with_state.where(DocumentRow.id != spare).order_by(DocumentRow.last_used_at, DocumentRow.id)
            spared = select(BlockRow.id).filter_by(**asdict(maker)).join(ReadingRow).where(
                ReadingRow.document_id == spare
            )
            for document_id in [*session.scalars(oldest), spare] if over > 0 else ():
                states = select(func.max(BlockRow.tokens)).join(ReadingRow).where(ReadingRow.document_id == document_id)
                tokens = session.scalar(states) or 0
                savepoint = session.begin_nested()
                gone = delete(ReadingRow).where(ReadingRow.document_id == document_id)
                if document_id == spare:
                    gone = gone.where(ReadingRow.block_id.not_in(spared))
                session.execute(gone)
                freed = blocks.sweep(session)
                if not freed:
                    savepoint.rollback()
                    continue
                savepoint.commit()
                eviction = Eviction(document_id, freed, tokens, time.time())
                session.merge(EvictionRow(**asdict(eviction)))
                evicted.append(eviction)
                over -= freed
                if over <= 0:
                    break
            if not really:
                session.rollback()
        if evicted and really:
            self._database.shrink()
        return evicted

    def eviction(self, document_id: str) -> Eviction | None:
        """What made room for others of this document's state, if it was not read again since."""
        with self._database.reading() as session:
            row = session.get(EvictionRow, document_id)
            return Eviction(row.document_id, row.bytes, row.tokens, row.evicted_at) if row else None


def _keep_only(session: Session, document_id: str, maker: Maker, prefixes: set[str]) -> None:
    """Make the document's states under a maker exactly those with these prefixes."""
    states = session.scalars(blocks.of(maker).where(BlockRow.kind == "state")).all()
    linked = select(ReadingRow.block_id).where(ReadingRow.document_id == document_id)
    mine = set(session.scalars(linked))
    for row in states:
        if row.prefix in prefixes and row.id not in mine:
            session.add(ReadingRow(document_id=document_id, block_id=row.id, complete=False))
        elif row.prefix not in prefixes and row.id in mine:
            session.execute(delete(ReadingRow).filter_by(document_id=document_id, block_id=row.id))
    session.flush()
    blocks.sweep(session)


def _bytes(session: Session) -> int:
    return int(session.scalar(select(func.coalesce(func.sum(BlockRow.bytes), 0))) or 0)


def _row(session: Session, id: int) -> BlockRow:
    row = session.get(BlockRow, id)
    if row is None:
        raise NotFound(f"no saved state {id}: it was removed; read the document again")
    return row


def _owner(session: Session, id: int) -> str:
    return session.scalar(select(ReadingRow.document_id).where(ReadingRow.block_id == id)) or "(none)"


def _snapshot(session: Session, row: BlockRow, document_id: str) -> Snapshot:
    links = session.execute(
        select(ReadingRow.document_id, ReadingRow.complete).where(ReadingRow.block_id == row.id)
    ).tuples().all()
    return Snapshot(
        id=row.id, documents=tuple(document for document, _ in links),
        maker=Maker(row.model, row.tokenizer, row.prompt_format), prefix=row.prefix, tokens=row.tokens,
        complete=(document_id, True) in [tuple(link) for link in links],
        bytes=sum(block.bytes for block in blocks.chain(session, row.id)),
        created_at=row.created_at, last_used_at=row.last_used_at,
    )
