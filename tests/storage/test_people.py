"""People, their choices and their browsers; and that nobody reaches what is another's."""

import time
from collections.abc import Callable

import pytest

from storage.conversations import Conversations, Message
from storage.database import Database
from storage.documents import Document, Documents
from storage.errors import NotFound, StorageError
from storage.jobs import Jobs, ReadingJob
from storage.people import People


def test_people_are_kept_with_what_they_chose(database: Database) -> None:
    people = People(database)
    people.put("ann", "hash one")
    people.prefer("ann", {"evidence": 3})
    people.put("ann", "hash two")
    ann = people.get("ann")
    assert ann is not None
    assert (ann.password, ann.preferences) == ("hash two", {"evidence": 3})
    people.prefer("", {"evidence": 1})  # the one person of a page without sign-in
    assert [person.name for person in people.list()] == ["", "ann"]
    people.remove("ann")
    assert people.get("ann") is None
    with pytest.raises(NotFound):
        people.remove("ann")


def test_a_token_lasts_until_it_runs_out_or_the_password_changes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = People(database)
    people.put("ann", "hash")
    for token in ("one", "two", "three"):
        people.sign_in(token, "ann", 60)
    assert people.signed_in("one") == "ann"
    people.sign_out("two")
    assert people.signed_in("two") is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert people.signed_in("three") is None
    monkeypatch.undo()
    people.put("ann", "another")
    assert people.signed_in("one") is None


def test_the_same_text_of_two_people_is_two_documents(database: Database) -> None:
    ann, bob = Documents(database, "ann"), Documents(database, "bob")
    hers = ann.add("Hers", "text", "Once upon a time", [], [], None)
    his = bob.add("His", "text", "Once upon a time", [], [], None)
    again = ann.add("Again", "text", "Once upon a time", [], [], None)
    assert (hers.id, hers.owner) == (again.id, "ann")
    assert his.id != hers.id
    assert [d.title for d in ann.list()] == ["Hers"]
    assert {d.title for d in Documents(database).list()} == {"Hers", "His"}
    assert ann.text(hers.id) == "Once upon a time"
    with pytest.raises(NotFound):
        ann.find("His")
    with pytest.raises(NotFound):
        ann.find(his.id)


USES: list[Callable[[Database, str, int], object]] = [
    lambda database, id, _: Documents(database, "bob").get(id),
    lambda database, id, _: Documents(database, "bob").text(id),
    lambda database, id, _: Documents(database, "bob").rename(id, "Mine"),
    lambda database, id, _: Documents(database, "bob").remove(id),
    lambda database, id, _: Documents(database, "bob").touch(id),
    lambda database, id, _: Documents(database, "bob").set_tokens(id, 3),
    lambda database, id, _: Documents(database, "bob").give(id, "bob"),
    lambda database, id, _: Conversations(database, "bob").start(id, "Mine"),
    lambda database, id, _: Conversations(database, "bob").list(id),
    lambda database, _, talk: Conversations(database, "bob").get(talk),
    lambda database, _, talk: Conversations(database, "bob").rename(talk, "Mine"),
    lambda database, _, talk: Conversations(database, "bob").remove(talk),
    lambda database, _, talk: Conversations(database, "bob").append(talk, [Message.now("user", "?", {})]),
    lambda database, id, _: Jobs(database, "bob").put(ReadingJob.new(id)),
]


@pytest.mark.parametrize("number", range(len(USES)))
def test_what_is_anothers_is_not_there(database: Database, number: int) -> None:
    hers = Documents(database, "ann").add("Hers", "text", "Once upon a time", [], [], None)
    talk = Conversations(database, "ann").start(hers.id, "Who?")
    Jobs(database, "ann").put(ReadingJob.new(hers.id))
    with pytest.raises(NotFound):
        USES[number](database, hers.id, talk.id)
    Jobs(database, "bob").remove(hers.id)
    assert Jobs(database, "bob").get(hers.id) is None
    assert Jobs(database, "bob").list() == []
    assert Documents(database, "ann").get(hers.id).title == "Hers"
    assert Conversations(database, "ann").list(hers.id) == [talk]
    assert [job.document_id for job in Jobs(database, "ann").list()] == [hers.id]


def test_a_document_can_be_given(database: Database, document: Document) -> None:
    Documents(database).give(document.id, "ann")
    ann = Documents(database, "ann")
    assert ann.text(document.id) == "Once upon a time"
    assert ann.add("Again", "text", "Once upon a time", [], [], None).id == document.id
    other = Documents(database).add("A book", "text", "Once upon a time", [], [], None)
    with pytest.raises(StorageError, match="ann has the text"):
        Documents(database).give(other.id, "ann")
