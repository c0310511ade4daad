"""Conversations about a document: questions, answers, and what is known about each."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, selectinload

from storage.database import Database
from storage.documents import find_document
from storage.errors import DatabaseDamaged, NotFound
from storage.schema import ConversationRow, DocumentRow, MessageRow

Role = Literal["user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One question or answer. facts: plain values (they are kept as JSON); created_at: seconds since 1970."""

    role: Role
    text: str
    facts: dict[str, Any]
    created_at: float

    @classmethod
    def now(cls, role: Role, text: str, facts: dict[str, Any]) -> "Message":
        """A message of this moment."""
        return cls(role, text, facts, time.time())


@dataclass(frozen=True)
class Conversation:
    """A conversation with its messages, in order."""

    id: int
    document_id: str
    title: str
    created_at: float
    messages: tuple[Message, ...]


class Conversations:
    """The conversations of a library, or those about one person's documents."""

    def __init__(self, database: Database, owner: str | None = None) -> None:
        """owner: as for `Documents`."""
        self._database = database
        self._owner = owner

    def start(self, document_id: str, title: str) -> Conversation:
        """A new conversation without messages. Raises NotFound if the document is gone."""
        with self._database.writing() as session:
            find_document(session, document_id, self._owner)
            row = ConversationRow(document_id=document_id, title=title, created_at=time.time())
            session.add(row)
            session.flush()
            session.refresh(row)
            return _conversation(row)

    def append(self, id: int, messages: Sequence[Message]) -> None:
        """Add messages at the end, all or none. Raises NotFound."""
        with self._database.writing() as session:
            _row(session, id, self._owner)
            session.add_all(
                MessageRow(conversation_id=id, role=m.role, created_at=m.created_at, text=m.text, facts=m.facts)
                for m in messages
            )

    def get(self, id: int) -> Conversation:
        """A conversation with all its messages. Raises NotFound; DatabaseDamaged if one is not what was said."""
        with self._database.reading() as session:
            row = _row(session, id, self._owner)
            if not row.intact or not all(message.intact for message in row.messages):
                raise DatabaseDamaged(f"conversation {id} or a message of it is damaged: start a new conversation")
            return _conversation(row)

    def list(self, document_id: str) -> list[Conversation]:
        """The conversations about a document, newest first; a damaged one is called so and has no messages.

        Raises NotFound for another person's document.
        """
        of_document = select(ConversationRow).where(ConversationRow.document_id == document_id)
        newest_first = of_document.order_by(ConversationRow.id.desc())
        with self._database.reading() as session:
            if self._owner is not None:
                find_document(session, document_id, self._owner)
            found = session.scalars(newest_first.options(selectinload(ConversationRow.messages)))
            return [_conversation(row) for row in found]

    def rename(self, id: int, title: str) -> None:
        """Give a conversation another title. Raises NotFound."""
        with self._database.writing() as session:
            _row(session, id, self._owner).title = title

    def remove(self, id: int) -> None:
        """Remove a conversation and its messages. Raises NotFound."""
        with self._database.writing() as session:
            session.delete(_row(session, id, self._owner))


def _row(session: Session, id: int, owner: str | None) -> ConversationRow:
    row = session.get(ConversationRow, id)
    if row is None or owner not in (None, session.scalar(_owner_of(row.document_id))):
        raise NotFound(f"no conversation {id}: `onceread show DOCUMENT` lists those of a document")
    return row


def _owner_of(document_id: str) -> Select[Any]:
    return select(DocumentRow.owner).where(DocumentRow.id == document_id)


def _conversation(row: ConversationRow) -> Conversation:
    if not row.intact or not all(message.intact for message in row.messages):
        return Conversation(row.id, row.document_id, f"{row.title} (damaged)", row.created_at, ())
    messages = tuple(Message(cast(Role, m.role), m.text, m.facts, m.created_at) for m in row.messages)
    return Conversation(row.id, row.document_id, row.title, row.created_at, messages)
