"""The rows of saved states: full pages of latents, each on the page before it, and ends of states on top of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.orm import Session, aliased
from torch import Tensor

from storage import tensors as rows
from storage.schema import BlockRow, ReadingRow, TensorRow
from storage.seals import Fact, seal

FORMAT = 1
"""How a state is laid out in rows. A block of another format is not read."""

SWEPT_AT_ONCE = 500
"""Rows named in one statement."""

Kind = Literal["page", "state"]


@dataclass(frozen=True)
class Maker:
    """What made a state, besides the tokens: model, tokenizer, prompt format. States of another maker never match."""

    model: str
    tokenizer: str
    prompt_format: str


@dataclass(frozen=True)
class Piece:
    """What becomes one block. prefix: the hash of the first `tokens` tokens, which all of `tensors` comes from;
    encoding: how its rows hold them."""

    prefix: str
    tokens: int
    tensors: Mapping[str, Tensor]
    encoding: rows.Encoding = "raw"


def find(session: Session, maker: Maker, kind: Kind, prefix: str) -> BlockRow | None:
    """The block of these tokens, if there is one."""
    return session.scalar(of(maker).where(BlockRow.prefix == prefix, BlockRow.kind == kind))


def of(maker: Maker) -> Select[BlockRow]:
    """All blocks of a maker."""
    return select(BlockRow).filter_by(
        model=maker.model, tokenizer=maker.tokenizer, prompt_format=maker.prompt_format
    )


def put(
    session: Session, maker: Maker, kind: Kind, piece: Piece, parent: BlockRow | None, now: float
) -> BlockRow:
    """The block of a piece: the one there is, or a new one."""
    row = find(session, maker, kind, piece.prefix)
    if row is not None:
        return row
    row = BlockRow(
        parent_id=parent.id if parent else None, kind=kind, model=maker.model, tokenizer=maker.tokenizer,
        prompt_format=maker.prompt_format, prefix=piece.prefix, format=FORMAT, tokens=piece.tokens, bytes=0,
        created_at=now, last_used_at=now, seal="",
    )
    session.add(row)
    session.flush()
    write_tensors(session, row, piece.tensors, piece.encoding)
    row.seal = expected_seal(session, row, parent.seal if parent else "")
    return row


def write_tensors(
    session: Session, row: BlockRow, tensors: Mapping[str, Tensor], encoding: rows.Encoding
) -> None:
    """Make these the block's tensors, in place of any it has."""
    session.execute(delete(TensorRow).where(TensorRow.block_id == row.id))
    packed = [{"block_id": row.id, **rows.pack(name, tensor, encoding)} for name, tensor in tensors.items()]
    row.bytes = sum(columns["length"] for columns in packed)
    if packed:  # at once: a statement for each row took a third of the time in which a state was saved
        session.execute(insert(TensorRow), packed)


def chain(session: Session, id: int) -> list[BlockRow]:
    """A block with all it stands on, the first page first."""
    start = select(BlockRow.id, BlockRow.parent_id).where(BlockRow.id == id).cte(recursive=True)
    below = aliased(BlockRow)
    up = start.union(select(below.id, below.parent_id).where(below.id == start.c.parent_id))  # UNION ends at a cycle
    found = session.scalars(select(BlockRow).where(BlockRow.id.in_(select(up.c.id)))).all()
    by_id = {row.id: row for row in found}
    ordered: list[BlockRow] = []
    at: int | None = id
    while at is not None and at in by_id:
        ordered.append(by_id.pop(at))
        at = ordered[-1].parent_id
    return ordered[::-1]


def checksums(session: Session, id: int) -> dict[str, str]:
    """The checksums of a block's tensors, by name."""
    pairs = select(TensorRow.name, TensorRow.checksum).where(TensorRow.block_id == id)
    return dict(session.execute(pairs).tuples().all())


def expected_seal(session: Session, row: BlockRow, before: str) -> str:
    """The seal that fits the block as it is, on a block with the seal `before`."""
    facts: list[Fact] = [row.kind, row.model, row.tokenizer, row.prompt_format, row.prefix, row.format, row.tokens]
    return seal(facts, checksums(session, row.id), before)


def problem(session: Session, row: BlockRow, before: str) -> str | None:
    """What is wrong with the block as a whole: its format, its facts, a row lost or exchanged."""
    if row.format != FORMAT:
        return f"is in format {row.format}, this Onceread reads format {FORMAT}"
    if row.seal != expected_seal(session, row, before):
        return "does not fit its seal (a row or a fact was changed)"
    return None


def sweep(session: Session) -> int:
    """Remove what no document's state stands on; returns the bytes of its tensors."""
    rows = {id: (parent, size) for id, parent, size in session.execute(
        select(BlockRow.id, BlockRow.parent_id, BlockRow.bytes)
    ).tuples()}
    kept: set[int | None] = {None}
    for used in session.scalars(select(ReadingRow.block_id)).all():
        at: int | None = used
        while at not in kept and at in rows:
            kept.add(at)
            at = rows[at][0]
    gone = sorted(rows.keys() - kept)
    for start in range(0, len(gone), SWEPT_AT_ONCE):
        session.execute(delete(BlockRow).where(BlockRow.id.in_(gone[start : start + SWEPT_AT_ONCE])))
    return sum(rows[id][1] for id in gone)
