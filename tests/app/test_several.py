"""Questions over several documents: every document's own answer, and one with the quotes of all."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app import library, prompts, several
from app.citations import Citation
from app.home import Home
from app.passages import Place
from app.session import Answer
from model.engine import Engine
from model.sampling import Sampling


def test_each_document_answers_and_the_answers_are_put_together(home: Home, tmp_path: Path) -> None:
    ids = []
    for name, text in (("mill", "The mill is old."), ("river", "The river is wide.")):
        path = tmp_path / f"{name}.txt"
        path.write_text(text, "utf-8")
        ids.append(library.add(home, [path]).id)
    *each, composed = several.ask(home, [*ids, ids[0]], "What is old?", Sampling(max_tokens=4))
    assert isinstance(composed, several.Composed)
    assert [answer.document for answer in composed.answers] == ids
    assert composed.answers == tuple(each)
    assert [len(home.conversations.list(id)) for id in ids] == [1, 1]

    answer = composed.answers[0]
    assert isinstance(answer, Answer)
    place = Place("mill.txt", None, 1, 1, 0, 16)
    good, bad = Citation("The mill is old.", True, place, "exact"), Citation("never said", False, None)
    one = replace(answer, answer="the mill", found=True, citations=(good, bad))
    two = replace(composed.answers[1], answer="The document does not say.", found=False, citations=())
    three = replace(one, document=ids[1], citations=(good,))
    made = several.compose(home, [one, two, three])
    assert made.answer.splitlines() == ["mill: the mill [1]", "river: the mill [3]", "Not answered by: river"]
    assert made.found
    assert [cited.title for cited in made.citations] == ["mill", "mill", "river"]
    assert not several.compose(home, [two]).found


def _cited(title: str, words: str) -> several.Cited:
    return several.Cited(title, title, Citation(words, True, Place(f"{title}.txt", None, 1, 1, 0, len(words)), "exact"))


def test_a_quote_that_stands_nowhere_is_not_cited_by_a_composed_answer(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    invented = several.Cited("sea", "sea", Citation("The sea is dry.", False, None))
    listed = several.Composed("mill: old [1]\nsea: dry", True, (_cited("mill", "The mill is old."), invented), ())
    reply = prompts.reply("The sea is dry.", "dry")
    monkeypatch.setattr(Engine, "generate", lambda engine, *_: iter(engine.tokenizer.encode(reply)))
    assert several.write(home, "What is there?", listed, Sampling(), lambda: False) == listed


@pytest.mark.parametrize(("reply", "answer", "written"), [
    (prompts.reply("The river is wide.", "old mill, wide river"), "old mill, wide river [2]", True),
    (prompts.reply("Nobody wrote this.", "guessed"), "mill: old [1]\nriver: wide [2]", False),
    (prompts.NOT_FOUND, "mill: old [1]\nriver: wide [2]", False),
])  # fmt: skip
def test_a_model_that_quotes_writes_the_composed_answer(
    home: Home, monkeypatch: pytest.MonkeyPatch, reply: str, answer: str, written: bool
) -> None:
    listed = several.Composed(
        "mill: old [1]\nriver: wide [2]", True,
        (_cited("mill", "The mill is old."), _cited("river", "The river is wide.")), (),
    )
    asked: list[Any] = []

    def generate(engine: Engine, state: Any, ids: Any, *_: Any) -> Iterator[int]:
        asked.append(engine.tokenizer.decode(list(ids)))
        yield from engine.tokenizer.encode(reply)

    monkeypatch.setattr(Engine, "generate", generate)
    made = several.write(home, "What is there?", listed, Sampling(), lambda: False)
    assert (made.answer, made.written) == (answer, written)
    assert made.citations == listed.citations
    assert "What is there?" in asked[0]
    assert several.write(home, "What is there?", listed, Sampling(), lambda: True) == listed
