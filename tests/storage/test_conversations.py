"""Conversations and their messages."""

from pathlib import Path

import pytest

from storage.conversations import Conversations, Message
from storage.database import Database
from storage.documents import Document
from storage.errors import DatabaseDamaged, NotFound


def test_messages_survive_in_order(database: Database, document: Document, path: Path) -> None:
    conversations = Conversations(database)
    talk = conversations.start(document.id, "First question")
    assert talk.messages == ()
    messages = [
        Message.now("user", "Who? \udce9", {}),
        Message("assistant", "The king.", {"citations": [{"quote": "„k“", "place": None}], "tokens": 3}, 12.5),
    ]
    conversations.append(talk.id, messages)
    conversations.append(talk.id, [Message("user", "And then?", {}, 1.0)])
    database.close()
    reopened = Database(path)
    found = Conversations(reopened).get(talk.id)
    assert [m.text for m in found.messages] == ["Who? ?", "The king.", "And then?"]
    assert found.messages[1] == messages[1]
    assert found == Conversations(reopened).list(document.id)[0]
    reopened.close()


def test_list_rename_remove(database: Database, document: Document) -> None:
    conversations = Conversations(database)
    first, second = (conversations.start(document.id, title) for title in ("one", "two"))
    assert [talk.id for talk in conversations.list(document.id)] == [second.id, first.id]
    conversations.rename(first.id, "renamed")
    conversations.append(second.id, [Message.now("user", "x", {})])
    conversations.remove(second.id)
    assert [talk.title for talk in conversations.list(document.id)] == ["renamed"]
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM messages").scalar_one() == 0


def test_all_messages_or_none(database: Database, document: Document) -> None:
    conversations = Conversations(database)
    talk = conversations.start(document.id, "talk")
    broken = Message("assistant", "y", {"not json": object()}, 0.0)
    with pytest.raises(Exception, match="not JSON serializable"):
        conversations.append(talk.id, [Message.now("user", "x", {}), broken])
    assert conversations.get(talk.id).messages == ()


def test_what_is_gone_is_said(database: Database) -> None:
    conversations = Conversations(database)
    with pytest.raises(NotFound, match="no document"):
        conversations.start("nothing", "talk")
    with pytest.raises(NotFound, match="no conversation 5"):
        conversations.get(5)
    with pytest.raises(NotFound, match="no conversation 5"):
        conversations.append(5, [])


def test_a_damaged_message_is_not_shown(database: Database, document: Document) -> None:
    conversations = Conversations(database)
    talk = conversations.start(document.id, "Who?")
    conversations.append(talk.id, [Message("user", "Who?", {}, 1.0), Message("assistant", "Nobody.", {"a": [1]}, 2.0)])
    for statement in ("text = 'Everybody.'", "facts = '{\"a\": [2]}'", "role = 'user'"):
        with database.writing() as session:
            session.connection().exec_driver_sql(f"UPDATE messages SET {statement} WHERE role = 'assistant'")
        with pytest.raises(DatabaseDamaged, match="start a new conversation"):
            conversations.get(talk.id)
        assert [(each.title, each.messages) for each in conversations.list(document.id)] == [("Who? (damaged)", ())]
    other = conversations.start(document.id, "When?")
    conversations.rename(other.id, "When was it?")
    assert conversations.get(other.id).title == "When was it?"
    with database.writing() as session:
        session.connection().exec_driver_sql(f"UPDATE conversations SET title = 'Then' WHERE id = {other.id}")
    with pytest.raises(DatabaseDamaged, match=f"conversation {other.id} or a message of it is damaged"):
        conversations.get(other.id)
