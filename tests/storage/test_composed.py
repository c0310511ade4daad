"""Answers about several documents: they survive, are their asker's, and go with a document they quote."""

from pathlib import Path

import pytest

from storage.composed import ComposedAnswers
from storage.database import Database
from storage.documents import Document, Documents
from storage.errors import DatabaseDamaged, NotFound
from storage.integrity import verify_facts


@pytest.fixture
def other(database: Database) -> Document:
    """A second document."""
    return Documents(database).add("Another", "text", "twice", [], [], None)


def test_answers_survive_newest_first(database: Database, document: Document, other: Document, path: Path) -> None:
    composed = ComposedAnswers(database)
    first = composed.add("Who? \udce9", [document.id, other.id, other.id], {"answer": "„k“", "citations": []})
    second = composed.add("When?", [document.id, other.id], {"answer": ""})
    database.close()
    reopened = ComposedAnswers(Database(path))
    assert [(kept.id, kept.question) for kept in reopened.list()] == [(second, "When?"), (first, "Who? ?")]
    assert reopened.get(first).facts == {"answer": "„k“", "citations": []}
    assert [kept.id for kept in reopened.list(1)] == [second]
    reopened.remove(second)
    with pytest.raises(NotFound, match=f"no answer {second} about several documents"):
        reopened.get(second)


def test_an_answer_goes_with_the_first_of_its_documents(
    database: Database, document: Document, other: Document
) -> None:
    composed = ComposedAnswers(database)
    both, one = (composed.add("Who?", ids, {}) for ids in ([document.id, other.id], [document.id]))
    Documents(database).remove(other.id)
    assert [kept.id for kept in composed.list()] == [one]
    with database.engine.connect() as connection:
        left = connection.exec_driver_sql("SELECT composed_id FROM composed_of").scalars().all()
    assert left == [one]
    with pytest.raises(NotFound):
        composed.add("Who?", [document.id, other.id], {})
    assert both not in {kept.id for kept in composed.list()}


def test_each_persons_are_theirs(database: Database) -> None:
    mine = Documents(database, "ann").add("Book", "text", "once", [], [], None)
    number = ComposedAnswers(database, "ann").add("Who?", [mine.id], {})
    theirs = ComposedAnswers(database, "bob")
    assert theirs.list() == []
    for act in (theirs.get, theirs.remove):
        with pytest.raises(NotFound):
            act(number)
    with pytest.raises(NotFound):
        theirs.add("Who?", [mine.id], {})
    assert [kept.id for kept in ComposedAnswers(database, "ann").list()] == [number]


@pytest.mark.parametrize("damage", ["question = 'Whom?'", """facts = '{"answer": "no"}'""", "owner = 'bob'"])
def test_damage_is_seen_and_said(database: Database, document: Document, damage: str) -> None:
    composed = ComposedAnswers(database)
    number = composed.add("Who?", [document.id], {"answer": "yes"})
    assert verify_facts(database) == []
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE composed SET {damage}")
    with pytest.raises(DatabaseDamaged, match=f"answer {number} about several documents is damaged"):
        composed.get(number)
    (shown,) = composed.list()
    assert (shown.intact, shown.facts) == (False, {})
    assert verify_facts(database) == [f"answer {number} about several documents"]
