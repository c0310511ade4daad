"""What the writer and the reader learn from: the question files' own rows, and questions without an answer."""

import random
import re
from pathlib import Path

import numpy as np
import pytest

from model.training import lessons
from model.training.data import plain_tokenizer
from model.training.pools import Pools
from model.training.reader import read_tokenizer
from model.training.teacher import IM_END, IM_START
from tests.model.training.test_reader import tokenizer_file
from tests.model.training.test_tasks import TEXT, corpus

TOKENIZER = plain_tokenizer(Path(__file__).parents[3] / "model" / "mini" / "tokenizer.json")


def test_a_lesson_in_asking_is_several_turns_about_one_passage(tmp_path: Path) -> None:
    pools = Pools(corpus(tmp_path), random.Random(2))
    other = pools.of_context[TEXT][0] | {"question": "Who built the mill?", "answers": ["Anne Clegg"]}
    pools.of_context[TEXT].append(other)
    drawn = [lessons.conversation(pools) for _ in range(60)]
    whole = [turns for turns in drawn if any(reply == "Who built the mill?" for _, reply in turns)]
    assert whole
    for turns in whole:
        assert turns[0][0].startswith(TEXT)
        assert all(said.startswith("Write a question that is answered by: ") for said, _ in turns[1:])
        answers = {"Who built the mill?": "Anne Clegg", "When was the mill built?": "1821"}
        assert all(said.endswith(f": {answers[reply]}") for said, reply in turns)


def test_lessons_in_asking_are_saved_with_what_is_learned(tmp_path: Path) -> None:
    pools = Pools(corpus(tmp_path), random.Random(2))
    count = lessons.asking(pools, TOKENIZER, 2000, tmp_path / "lessons.npz")
    saved = np.load(tmp_path / "lessons.npz")
    assert len(saved["lengths"]) == count > 5
    assert saved["lengths"].sum() == len(saved["ids"]) == len(saved["reply"]) >= 2000
    first = slice(0, saved["lengths"][0])
    assert saved["ids"][0] == IM_START
    assert saved["ids"][first][-1] == IM_END
    learned = TOKENIZER.decode([int(i) for i, on in zip(saved["ids"], saved["reply"], strict=True) if on])
    assert "When was the mill built?" in learned
    assert "Write" not in learned


def test_lessons_in_made_up_facts_point_at_the_one_that_is_asked_for(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "MADE_UP", 1.0)
    pools = Pools(corpus(tmp_path), random.Random(2))
    drawn = [each for _ in range(1000) if (each := lessons.example(pools))]
    answered = [each for each in drawn if each[2] >= 0]
    assert 0.8 < len(answered) / len(drawn) < 0.92
    for question, passage, start, end in answered:
        key = re.split(" of | is ", question.strip("?"))[-1]
        line = next(one for one in re.split(r"\n|(?<=\.) ", passage) if re.search(rf"\b{key}\b", one)) \
            if "\n" in passage else passage
        assert re.fullmatch(r"\d{2,6}|[A-Z][a-z]+", passage[start:end])
        assert passage[start:end] in line
    assert any("1821" in passage for _, passage, _, _ in answered)  # facts within a passage
    for question, passage, start, _ in drawn:
        key = re.split(" of | is ", question.strip("?"))[-1]
        assert (start >= 0) == bool(re.search(rf"\b{key}\b", passage))


def test_lessons_in_reading_point_at_the_answer_or_at_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "MADE_UP", 0.0)
    pools = Pools(corpus(tmp_path), random.Random(2))
    drawn = [each for _ in range(3000) if (each := lessons.example(pools))]
    spans = {(question, passage[start:end]) for question, passage, start, end in drawn if start >= 0}
    swum = {(f"What did {name} swim?", "the lake") for name in ("Rosa", "Tom", "Ines", "Ulf")}
    assert spans > swum | {("When was the mill built?", "1821"), ("When was the mill destroyed?", "1821")}
    assert {answer for _, answer in spans} == {"the lake", "1821"}
    none = [(question, passage) for question, passage, start, _ in drawn if start < 0]
    assert 0.3 < len(none) / len(drawn) < 0.6
    assert ("Who painted the mill?", TEXT) in none
    assert ("When was the mill built?", TEXT.replace("built", "destroyed")) in none
    cut = [passage for question, passage in none if question == "When was the mill built?" and "1821 by" not in passage]
    assert cut
    assert not any("1821" in passage for passage in cut)
    assert any("oats" in passage for passage in cut)  # the rest of its own passage
    assert any("swam" in passage for passage in cut)  # another passage of its document


def test_lessons_in_reading_are_saved_as_tokens(tmp_path: Path) -> None:
    pools, words = Pools(corpus(tmp_path), random.Random(2)), read_tokenizer(tokenizer_file(tmp_path))
    answered = lessons.reading(pools, words, 60, tmp_path / "lessons.npz")
    saved = np.load(tmp_path / "lessons.npz")
    assert answered == (saved["first"] > 0).sum() > 10
    assert saved["lengths"].sum() == len(saved["ids"]) == len(saved["kinds"])
    starts = np.cumsum([0, *saved["lengths"]])[:-1]
    year = words.token_to_id("1821")
    assert any(saved["ids"][at + first] == year and first == last
               for at, first, last in zip(starts, saved["first"], saved["last"], strict=True))
    assert all(saved["kinds"][at + first] == 1 for at, first in zip(starts, saved["first"], strict=True) if first)


def test_an_answer_that_stands_twice_is_taken_where_the_question_points() -> None:
    passage = "In 1821 it rained. The mill was built in 1821."
    assert lessons.place(passage, "When was the mill built?", "1821") == passage.rfind("1821")
    assert lessons.without(passage, "rained") == "The mill was built in 1821."
