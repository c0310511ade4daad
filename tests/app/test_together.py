"""Answers about several documents, kept and shown again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import library, prompts, several, together
from app.home import Home
from model.engine import Engine
from model.sampling import Sampling
from storage.errors import NotFound

TEXTS = {"mill": "The mill was built by Anna Reed.", "river": "The river is wide and cold."}


@pytest.fixture
def ids(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two documents of one title, and a model that quotes the first."""
    reply = prompts.reply(TEXTS["mill"], "*Anna* Reed")
    monkeypatch.setattr(Engine, "generate", lambda engine, *_: iter(engine.tokenizer.encode(reply)))
    found = []
    for name, text in TEXTS.items():
        (tmp_path / f"{name}.txt").write_text(text, "utf-8")
        found.append(library.add(home, [tmp_path / f"{name}.txt"], "A book").id)
    return found


def ask(home: Home, ids: list[str]) -> several.Composed:
    """The composed answer."""
    *_, composed = several.ask(home, ids, " Who built it? ", Sampling(max_tokens=64), evidence=0)
    assert isinstance(composed, several.Composed)
    return composed


def test_what_was_answered_is_there_again(home: Home, ids: list[str]) -> None:
    composed = ask(home, ids)
    (kept,) = together.listed(home, 5)
    assert kept == together.get(home, composed.number)
    assert (kept.question, kept.answer, kept.stopped) == ("Who built it?", composed.answer, False)
    assert kept.citations == composed.citations
    assert [cited.title for cited in kept.citations] == ["A book (mill.txt)", "A book (river.txt)"]
    assert [(talk.document, talk.title) for talk in kept.talks] == [
        (ids[0], "A book (mill.txt)"), (ids[1], "A book (river.txt)"),
    ]  # fmt: skip
    for talk, answer in zip(kept.talks, composed.answers, strict=True):
        assert talk.conversation == answer.conversation
        assert home.conversations.get(talk.conversation).document_id == talk.document


def test_it_can_be_taken_out(home: Home, ids: list[str]) -> None:
    number = ask(home, ids).number
    text = together.markdown(home, number)
    assert text.startswith("# Who built it?\n\nAsked of A book (mill.txt), A book (river.txt)\n")
    assert "\\*Anna\\* Reed" in text
    assert "1. “The mill was built by Anna Reed.”: A book (mill.txt), mill.txt, line 1" in text
    assert "2. “The mill was built by Anna Reed.”: A book (river.txt), not found in the document" in text
    facts = json.loads(together.as_json(home, number))
    assert (facts["number"], facts["question"], len(facts["citations"])) == (number, "Who built it?", 2)


def test_an_answer_is_not_kept_of_a_document_that_was_removed_meanwhile(home: Home, ids: list[str]) -> None:
    asking: Iterator[several.Composed | object] = several.ask(home, ids, "Who?", Sampling(max_tokens=64), evidence=0)
    next(asking)
    answer = next(asking)
    library.remove(home, ids[0])
    with pytest.raises(NotFound):
        list(asking)
    assert together.listed(home, 5) == []
    assert getattr(answer, "document", "") == ids[1]


def test_a_damaged_one_says_so(home: Home, ids: list[str]) -> None:
    ask(home, ids)
    with home.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE composed SET facts = '{}'")
    (kept,) = together.listed(home, 5)
    assert (kept.answer, kept.citations) == ("This answer is damaged: ask again.", ())
