"""Documents: round trips, finding, removing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.conversations import Conversations, Message
from storage.database import Database
from storage.documents import (
    DAMAGED,
    DAMAGED_FACTS,
    ID_LENGTH,
    Document,
    Documents,
    Heading,
    Segment,
    SkippedPart,
    _pack,
    _unpack,
)
from storage.errors import DatabaseDamaged, NotFound, StorageError
from storage.integrity import verify_facts
from storage.jobs import Jobs, ReadingJob
from storage.reports import Cell, Cells
from storage.schema import Base, DocumentRow

NUMBERS = st.integers(0, 2**40)
SEGMENTS = st.builds(Segment, NUMBERS, NUMBERS, NUMBERS, st.text(), st.none() | NUMBERS, NUMBERS)


@given(st.lists(SEGMENTS))
def test_segments_survive(segments: list[Segment]) -> None:
    assert _unpack(_pack(segments)) == tuple(segments)


def test_a_document_survives_reopening(database: Database, path: Path) -> None:
    text = "Καλημέρα\x00 \ud800 one\r\ntwo"  # a NUL and a lone surrogate too
    parts = [Segment(0, 0, 5, "a.pdf", 1, 1), Segment(1, 5, len(text), "a.pdf", 2, 1)]
    added = Documents(database).add("Title \udce9", "pdf", text, parts, [SkippedPart("b.bin", "no text")], 2)
    database.close()
    reopened = Database(path)
    documents = Documents(reopened)
    assert documents.get(added.id) == added
    assert documents.text(added.id) == text
    assert (added.title, added.kind, added.chars, added.tokens, added.pages) == ("Title ?", "pdf", len(text), None, 2)
    assert added.segments == tuple(parts)
    assert added.skipped == (SkippedPart("b.bin", "no text"),)
    reopened.close()


def test_the_same_text_is_the_same_document(database: Database, document: Document) -> None:
    again = Documents(database).add("Another title", "pdf", "Once upon a time", [], [], 3)
    assert again == document
    assert document.id == document.text_hash[:ID_LENGTH]


def test_ids_that_collide_get_longer(database: Database, document: Document) -> None:
    documents = Documents(database)
    other = documents.add("other", "text", "other", [], [], None)
    documents.remove(other.id)
    with database.writing() as session:  # someone else has the first 12 digits
        row = session.get_one(DocumentRow, document.id)
        session.expunge(row)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql("UPDATE documents SET id = ?", (other.id,))
        connection.exec_driver_sql("UPDATE contents SET document_id = ?", (other.id,))
    longer = documents.add("other", "text", "other", [], [], None)
    assert longer.id == other.text_hash[: ID_LENGTH + 1]


def test_newest_first_and_facts_change(database: Database, document: Document) -> None:
    documents = Documents(database)
    second = documents.add("Second", "text", "two", [], [], None)
    assert [d.id for d in documents.list()] == [second.id, document.id]
    documents.set_tokens(document.id, 7)
    documents.rename(document.id, "Renamed")
    documents.touch(document.id)
    changed = documents.get(document.id)
    assert (changed.tokens, changed.title) == (7, "Renamed")
    assert changed.last_used_at > document.last_used_at


def test_find_by_id_prefix_and_title(database: Database, document: Document) -> None:
    documents = Documents(database)
    for name in (document.id, document.id[:4], document.id[:5].upper(), "A book"):
        assert documents.find(name) == document


def test_find_says_what_is_near_or_ambiguous(database: Database) -> None:
    documents = Documents(database)
    with pytest.raises(NotFound, match="the library is empty"):
        documents.find("x")
    ids = [documents.add("Twice" if n < 2 else f"Book {n}", "text", str(n), [], [], None).id for n in range(20)]
    with pytest.raises(NotFound, match=r"'Twice' could be any of 2 documents: .*say more of the id") as caught:
        documents.find("Twice")
    assert all(id in str(caught.value) for id in ids[:2])
    with pytest.raises(NotFound, match="did you mean 'Twice'"):
        documents.find("twise")
    with pytest.raises(NotFound, match=r"did you mean .*'Book 1"):
        documents.find("ook 1")
    with pytest.raises(NotFound, match="onceread list"):
        documents.find("%")
    with pytest.raises(NotFound, match="onceread list"):
        documents.find("")
    digit = next(d for d in "0123456789abcdef" if sum(id.startswith(d) for id in ids) > 1)
    with pytest.raises(NotFound, match="could be any of"):
        documents.find(digit)


def test_removing_takes_everything_and_gives_the_bytes_back(database: Database, document: Document, path: Path) -> None:
    documents = Documents(database)
    before = path.stat().st_size
    large = documents.add("Large", "text", "x" * 5_000_000, [], [], None)
    after = documents.add("Stored after it", "text", "y" * 2_000_000, [], [], None)
    talk = Conversations(database).start(large.id, "talk")
    Conversations(database).append(talk.id, [Message.now("user", "hi", {})])
    Jobs(database).put(ReadingJob.new(large.id))
    cell = Cell("k", large.id, "q", "state", "hash", {}, "found")
    assert Cells(database).claim([cell], "worker", 60) == ["k"]
    documents.remove(large.id)
    documents.remove(after.id)
    assert path.stat().st_size <= before + 100_000
    with database.engine.connect() as connection:
        counts = {t: connection.exec_driver_sql(f"SELECT count(*) FROM {t}").scalar_one() for t in Base.metadata.tables}
    assert {table for table, count in counts.items() if count} == {"documents", "contents"}
    assert documents.text(document.id) == "Once upon a time"
    for call in (documents.get, documents.text, documents.touch, documents.remove):
        with pytest.raises(NotFound, match=f"no document {large.id}"):
            call(large.id)


def test_a_damaged_text_is_named(database: Database, document: Document) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE contents SET text = x'ff00'")
    with pytest.raises(DatabaseDamaged, match=f"the text of document {document.id} is damaged"):
        Documents(database).text(document.id)


def test_a_text_beyond_what_a_row_holds(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.documents.MOST_BYTES", 10)
    with pytest.raises(StorageError, match="split it"):
        Documents(database).add("t", "text", "é" * 6, [], [], None)


def test_headings_are_kept_and_go_with_the_document(database: Database) -> None:
    documents = Documents(database)
    outline = [Heading(1, "One", 0), Heading(2, "Two \ud800", 5)]
    made = documents.add("a", "text", "One, Two", [], [], None, outline)
    assert documents.outline(made.id) == tuple(outline)
    assert documents.outline(documents.add("b", "text", "none", [], [], None).id) == ()
    documents.remove(made.id)
    with pytest.raises(NotFound):
        documents.outline(made.id)


def test_the_same_bytes_are_the_same_document(database: Database) -> None:
    documents = Documents(database)
    first = documents.add("a", "pdf", "as one parser reads it", [], [], None, (), "a.pdf", "digest")
    again = documents.add("b", "pdf", "as another reads it", [], [], None, (), "b.pdf", "digest")
    assert again == first
    assert documents.add("c", "text", "other", [], [], None, (), "a.pdf", "another").id != first.id


def test_damaged_places_are_said_and_the_text_stays(database: Database) -> None:
    documents = Documents(database)
    added = documents.add("a", "text", "once", [Segment(0, 0, 4, "a.txt", None, 1)], [], None)
    for column in ("segments", "skipped", "checksum"):
        with database.writing() as session:
            session.connection().exec_driver_sql(f"UPDATE contents SET {column} = 'x' || {column}")
        (found,) = documents.list()
        assert (found.skipped, documents.text(added.id)) == ((DAMAGED,), "once")
        assert [(part.char_start, part.char_end) for part in found.segments] == [(0, 4)]


@pytest.mark.parametrize("column", ["title", "kind", "chars", "created_at", "checksum"])
def test_damaged_facts_are_said_for_good(database: Database, document: Document, column: str) -> None:
    documents = Documents(database)
    documents.set_tokens(document.id, 3)
    documents.rename(document.id, "A book")
    assert documents.get(document.id).title == "A book"
    with database.writing() as session:
        session.connection().exec_driver_sql(f"UPDATE documents SET {column} = 7")
    documents.touch(document.id)  # what is written later does not hide it
    found = documents.get(document.id)
    assert found.title.endswith(" (damaged)")
    assert DAMAGED_FACTS in found.skipped
    assert verify_facts(database) == [f"the facts of document {document.id}"]


def test_damaged_headings_are_left_out(database: Database) -> None:
    documents = Documents(database)
    made = documents.add("b", "text", "One\nTwo", [], [], None, [Heading(1, "One", 0)])
    with database.writing() as session:
        session.connection().exec_driver_sql("UPDATE outlines SET headings = '[[1, \"Two\", 0]]'")
    assert documents.outline(made.id) == ()
    assert verify_facts(database) == [f"the headings of document {made.id}"]
