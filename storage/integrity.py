"""Whether everything in a library is as it was saved: every block, every text, and nothing without an owner."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from storage import blocks
from storage import tensors as rows
from storage.checked import Checked
from storage.database import Database
from storage.documents import Documents
from storage.errors import DatabaseDamaged, NotFound
from storage.schema import (
    BlockRow,
    CellRow,
    ComposedRow,
    ContentRow,
    ConversationRow,
    DocumentRow,
    MessageRow,
    OutlineRow,
    ReadingRow,
    TensorRow,
)


@dataclass(frozen=True)
class Verdict:
    """What is wrong with one block of saved state: a problem in words for each damaged row, and rows without an owner.

    kind: a page, the end of a state, or nothing if only rows are left. documents: whose state it is. A sound block has
    neither.
    """

    snapshot: int
    kind: str
    documents: tuple[str, ...]
    tokens: int
    damaged: tuple[str, ...]
    orphaned: tuple[str, ...]


def verify_states(database: Database) -> list[Verdict]:
    """Check every row of every block, each block in a transaction of its own."""
    with database.reading() as session:
        documents = set(session.scalars(select(DocumentRow.id)))
        owners: dict[int, set[str]] = {}
        for document_id, block_id in session.execute(select(ReadingRow.document_id, ReadingRow.block_id)).tuples():
            for block in blocks.chain(session, block_id):
                owners.setdefault(block.id, set()).add(document_id)
        ids = session.scalars(select(BlockRow.id).order_by(BlockRow.id)).all()
        gone = session.scalars(
            select(TensorRow.block_id).where(TensorRow.block_id.not_in(select(BlockRow.id))).distinct()
        ).all()
        verdicts = [Verdict(id, "", (), 0, (), tuple(sorted(blocks.checksums(session, id)))) for id in gone]
    for id in ids:
        with database.reading() as session:
            row = session.get(BlockRow, id)
            if row is None:
                continue  # removed meanwhile
            damaged = [f"{x.name}: checksum differs" for x in rows.read(session, id) if not x.intact]
            parent = session.get(BlockRow, row.parent_id) if row.parent_id is not None else None
            whole = blocks.problem(session, row, parent.seal if parent else "")
            if whole and not damaged:
                damaged = [whole]
            mine = owners.get(id, set()) & documents
            orphaned = () if mine else tuple(sorted(blocks.checksums(session, id)))
            verdicts.append(Verdict(id, row.kind, tuple(sorted(mine)), row.tokens, tuple(damaged), orphaned))
    return verdicts


def verify_facts(database: Database) -> list[str]:
    """The facts, messages, headings, lists of parts and cells of reports that are not what was written, in words."""
    kinds: dict[str, tuple[type[Checked], InstrumentedAttribute[Any]]] = {
        "message {}": (MessageRow, MessageRow.id),
        "the parts of document {}": (ContentRow, ContentRow.document_id),
        "the facts of document {}": (DocumentRow, DocumentRow.id),
        "the headings of document {}": (OutlineRow, OutlineRow.document_id),
        "conversation {}": (ConversationRow, ConversationRow.id),
        "answer {} about several documents": (ComposedRow, ComposedRow.id),
        "a report's answer {}": (CellRow, CellRow.key),
    }
    damaged = []
    for words, (table, key) in kinds.items():
        with database.reading() as session:
            ids = session.scalars(select(key).order_by(key)).all()
        for id in ids:
            try:
                with database.reading() as session:
                    row = session.get(table, id)
                    if row is not None and not row.intact:
                        damaged.append(words.format(id))
            except DatabaseDamaged:
                damaged.append(words.format(id))
    return damaged


def verify_texts(database: Database) -> list[str]:
    """The documents whose text is not what was stored."""
    with database.reading() as session:
        ids = session.scalars(select(DocumentRow.id)).all()
    damaged = []
    for id in ids:
        try:
            Documents(database).text(id)
        except DatabaseDamaged:
            damaged.append(id)
        except NotFound:
            continue  # removed meanwhile
    return damaged
