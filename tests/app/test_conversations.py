"""Conversations: branched, repeated, taken out and dropped, without losing anything on the way."""

import json
from pathlib import Path

import pytest

from app import conversations, library, session
from app.errors import OncereadError
from app.home import Home
from model.sampling import Sampling
from storage.errors import NotFound

SHORT = Sampling(max_tokens=4)


@pytest.fixture
def talk(home: Home, tmp_path: Path) -> int:
    """A conversation of two turns about a short text."""
    path = tmp_path / "mill.txt"
    path.write_text("The mill was built by Anna Reed. <b>Herons</b> live by the river.", "utf-8")
    document = library.add(home, [path]).id
    *_, first = session.ask(home, document, "Who built *the* mill?", sampling=SHORT)
    assert isinstance(first, session.Answer)
    list(session.ask(home, document, "And who lives there?", first.conversation, SHORT))
    return first.conversation


def test_a_branch_has_the_first_turns_and_leaves_the_other_alone(home: Home, talk: int) -> None:
    before = home.conversations.get(talk)
    made = conversations.branch(home, talk, 1)
    assert [m.text for m in made.messages] == [m.text for m in before.messages[:2]]
    list(session.ask(home, made.document_id, "Why?", made.id, SHORT))
    assert home.conversations.get(talk) == before
    with pytest.raises(OncereadError, match="has 2 turns"):
        conversations.branch(home, talk, 3)


def test_the_last_question_is_asked_again_in_a_branch(home: Home, talk: int) -> None:
    *_, answer = conversations.again(home, talk, Sampling(1.0, seed=5, max_tokens=4))
    assert isinstance(answer, session.Answer)
    assert (answer.question, answer.settings["seed"]) == ("And who lives there?", 5)
    assert answer.conversation != talk
    assert len(home.conversations.get(answer.conversation).messages) == 4
    empty = home.conversations.start(answer.document, "nothing yet")
    with pytest.raises(OncereadError, match="no question yet"):
        conversations.again(home, empty.id, SHORT)


def test_a_removed_conversation_takes_its_state_along(home: Home, talk: int) -> None:
    assert home.kept.find(talk, 4)
    conversations.remove(home, talk)
    assert home.kept.find(talk, 4) is None
    with pytest.raises(NotFound):
        home.conversations.get(talk)


def test_what_is_taken_out_is_whole_and_harmless(home: Home, talk: int) -> None:
    facts = json.loads(conversations.as_json(home, talk))
    assert [message["text"] for message in facts["messages"]][::2] == ["Who built *the* mill?", "And who lives there?"]
    said = facts["messages"][1]["facts"]
    assert said["settings"]["max_tokens"] == 4
    assert said["model"] == home.engine.fingerprint
    assert said["question"] == "Who built *the* mill?"
    words = conversations.markdown(home, talk)
    assert "## Who built \\*the\\* mill?" in words
    assert "<b>" not in words
