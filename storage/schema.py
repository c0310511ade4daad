"""The tables. `migrations.py` creates them; a test holds the two equal.

Times are seconds since 1970 (UTC). Wide columns come last, so that SQLite reads the others without them (their order in
the file is the order in `migrations.py`).
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Double, ForeignKey, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from storage.checked import Checked


class Words(TypeDecorator[str]):
    """Text for people. Lone surrogates (from odd file names) become '?', and NUL U+FFFD: databases cannot hold them."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Make the text storable."""
        return None if value is None else value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


class Base(DeclarativeBase):
    """The parent of all tables."""

    type_annotation_map = {str: Text, float: Double, dict[str, Any]: JSON, list[Any]: JSON, bytes: LargeBinary}  # noqa: RUF012 (SQLAlchemy's way)


class DocumentRow(Checked, Base):
    """A document's facts."""

    __tablename__ = "documents"
    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(Words)
    kind: Mapped[str]
    text_hash: Mapped[str] = mapped_column(unique=True)
    chars: Mapped[int]
    tokens: Mapped[int | None]
    pages: Mapped[int | None]
    created_at: Mapped[float]
    last_used_at: Mapped[float]
    owner: Mapped[str] = mapped_column(server_default="")
    resume_seconds: Mapped[float | None]
    origin: Mapped[str] = mapped_column(Words, server_default="")
    digest: Mapped[str] = mapped_column(server_default="")
    content: Mapped["ContentRow"] = relationship(passive_deletes="all")
    outline: Mapped["OutlineRow | None"] = relationship(passive_deletes="all")


class ContentRow(Checked, Base):
    """A document's text as UTF-8 and its places as JSON; never changed, so that touching a document stays cheap."""

    __tablename__ = "contents"
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    segments: Mapped[str]
    skipped: Mapped[str]
    text: Mapped[bytes] = mapped_column(deferred=True)


class OutlineRow(Checked, Base):
    """A document's headings as JSON; a table of its own, for SQLite reads past a text to find what was added later."""

    __tablename__ = "outlines"
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    headings: Mapped[str]


class BlockRow(Base):
    """A piece of saved state, on the piece before it: a full page of latents (`page`), or the end of a state (`state`).

    prefix: a hash of the first `tokens` tokens, all of those the block depends on, so that texts that begin alike share
    blocks. seal: a checksum over all this, the checksums of its tensors and the seal of the block before.
    """

    __tablename__ = "blocks"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("blocks.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    model: Mapped[str]
    tokenizer: Mapped[str]
    prompt_format: Mapped[str]
    prefix: Mapped[str]
    format: Mapped[int]
    tokens: Mapped[int]
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]
    last_used_at: Mapped[float]
    seal: Mapped[str]
    __table_args__ = (UniqueConstraint("prefix", "kind", "model", "tokenizer", "prompt_format"),)


class ReadingRow(Base):
    """A state (a block) that lies on a document's way. complete: at its end."""

    __tablename__ = "readings"
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    block_id: Mapped[int] = mapped_column(ForeignKey("blocks.id", ondelete="CASCADE"), primary_key=True, index=True)
    complete: Mapped[bool]


class TensorRow(Base):
    """One tensor of a block. shape: `2,3` for [2, 3], empty for a scalar. encoding: how data holds it (`tensors.py`);
    length: of data, in bytes. checksum: over name, dtype, shape and the tensor's own bytes."""

    __tablename__ = "tensors"
    id: Mapped[int] = mapped_column(primary_key=True)
    block_id: Mapped[int] = mapped_column(ForeignKey("blocks.id", ondelete="CASCADE"))
    name: Mapped[str]
    dtype: Mapped[str]
    shape: Mapped[str]
    encoding: Mapped[str]
    length: Mapped[int]
    checksum: Mapped[str]
    data: Mapped[bytes]
    __table_args__ = (UniqueConstraint("block_id", "name"),)


class LeaseRow(Base):
    """Who is at work on something, so that nobody does it twice. An expired lease counts for nothing."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    expires_at: Mapped[float]


class EvictionRow(Base):
    """A document's state that had to make room, until it is read again."""

    __tablename__ = "evictions"
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    tokens: Mapped[int]
    evicted_at: Mapped[float]


class ConversationRow(Checked, Base):
    """A conversation about a document."""

    __tablename__ = "conversations"
    id: Mapped[int] = mapped_column(primary_key=True)
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), index=True)
    title: Mapped[str] = mapped_column(Words)
    created_at: Mapped[float]
    messages: Mapped[list["MessageRow"]] = relationship(order_by="MessageRow.id", passive_deletes="all")


class MessageRow(Checked, Base):
    """A question or an answer; facts is whatever the application knows about it."""

    __tablename__ = "messages"
    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    role: Mapped[str]
    created_at: Mapped[float]
    text: Mapped[str] = mapped_column(Words)
    facts: Mapped[dict[str, Any]]


class ComposedRow(Checked, Base):
    """A question to several documents and what was put together from their answers; facts: as the application has
    them."""

    __tablename__ = "composed"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(index=True)
    question: Mapped[str] = mapped_column(Words)
    created_at: Mapped[float]
    facts: Mapped[dict[str, Any]]


class ComposedOfRow(Base):
    """A document that a composed answer is about."""

    __tablename__ = "composed_of"
    composed_id: Mapped[int] = mapped_column(ForeignKey("composed.id", ondelete="CASCADE"), primary_key=True)
    document_id: Mapped[str] = mapped_column(
        ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class JobRow(Base):
    """The background reading of a document."""

    __tablename__ = "jobs"
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str]
    done: Mapped[int]
    total: Mapped[int]
    error: Mapped[str | None] = mapped_column(Words)
    seconds: Mapped[float]
    updated_at: Mapped[float]
    pace: Mapped[list[Any] | None]
    waiting: Mapped[str | None] = mapped_column(Words)


class ReportRow(Base):
    """A report job. spec: its template, variables, documents, settings and folder."""

    __tablename__ = "reports"
    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    title: Mapped[str] = mapped_column(Words)
    state: Mapped[str]
    done: Mapped[int]
    total: Mapped[int]
    failed: Mapped[int]
    error: Mapped[str | None] = mapped_column(Words)
    created_at: Mapped[float]
    updated_at: Mapped[float]
    doing: Mapped[str | None] = mapped_column(Words)
    spec: Mapped[dict[str, Any]]


class CellRow(Checked, Base):
    """One question of a report about one document (none: across documents): answered, or claimed by a worker.

    key: a hash of state_key, cell_hash and settings. worker: who claimed it, until lease_until.
    """

    __tablename__ = "cells"
    key: Mapped[str] = mapped_column(primary_key=True)
    document_id: Mapped[str | None] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), index=True)
    question_id: Mapped[str] = mapped_column(Words)
    state_key: Mapped[str]
    cell_hash: Mapped[str]
    state: Mapped[str]
    worker: Mapped[str] = mapped_column(index=True)
    lease_until: Mapped[float]
    seconds: Mapped[float]
    answered_at: Mapped[float]
    quote: Mapped[str | None] = mapped_column(Words)
    place: Mapped[str | None] = mapped_column(Words)
    settings: Mapped[dict[str, Any]]
    answer: Mapped[dict[str, Any]]


class PersonRow(Base):
    """Someone who may sign in. password: an Argon2 hash; preferences: what they chose in the settings."""

    __tablename__ = "people"
    name: Mapped[str] = mapped_column(primary_key=True)
    password: Mapped[str]
    created_at: Mapped[float]
    preferences: Mapped[dict[str, Any]]


class SignInRow(Base):
    """A browser that is signed in. token_hash: of the token in its cookie."""

    __tablename__ = "sign_ins"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(ForeignKey("people.name", ondelete="CASCADE"), index=True)
    expires_at: Mapped[float]
