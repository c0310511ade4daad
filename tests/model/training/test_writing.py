"""Questions by a copy of the teacher: what it learns from, what it is asked about, what is kept."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.training import writing
from model.training.data import plain_tokenizer, rows
from model.training.drawing import Builder
from model.training.pools import Pools
from model.training.teacher import IM_END, IM_START, Teacher
from tests.model.training.test_tasks import FORM, TEXT, corpus

TOKENIZER = plain_tokenizer(Path(__file__).parents[3] / "model" / "mini" / "tokenizer.json")
BOOK = "\n\n".join(f"In the year {1700 + n} Captain Harlow sailed to Bristol with {n} barrels." for n in range(400))


def teacher() -> Teacher:
    """One layer with small random weights."""
    model = Teacher(layers=1)
    for name, p in model.named_parameters():
        p.data.fill_(1.0) if "norm" in name else p.data.normal_(0, 0.05)
    return model


def test_a_lesson_is_a_prompt_and_a_reply(tmp_path: Path) -> None:
    pools = Pools(corpus(tmp_path), random.Random(2))
    said = [writing.lesson(pools) for _ in range(300)]
    asking = [(words, reply) for words, reply in said if "Write a question" in words]
    assert (writing.ASK.format(context=TEXT, answer="1821"), "When was the mill built?") in asking
    assert (writing.ANSWER.format(context=TEXT, question="When was the mill built?"), "1821") in said
    assert 100 < len(asking) < 200
    count = writing.lessons(pools, TOKENIZER, 40, tmp_path / "lessons.npz")
    saved = np.load(tmp_path / "lessons.npz")
    assert len(saved["lengths"]) == 40
    assert saved["lengths"].sum() == len(saved["ids"]) == count
    first = slice(0, saved["lengths"][0])
    assert saved["ids"][0] == IM_START
    assert saved["ids"][first][-1] == IM_END
    reply = TOKENIZER.decode([int(i) for i, learned in zip(saved["ids"], saved["reply"], strict=True) if learned][:400])
    assert "mill" in reply


def test_the_copy_learns_and_the_teacher_does_not_change(tmp_path: Path) -> None:
    writing.lessons(Pools(corpus(tmp_path), random.Random(2)), TOKENIZER, 8, tmp_path / "lessons.npz")
    master = teacher()
    before = master.embed.clone()
    writer, first = writing.tune(master, tmp_path / "lessons.npz", 1e-9, 512)
    assert (master.embed == before).all()
    assert (writer.embed != before).any()
    assert first > 5


def test_passages_are_the_texts_own_words_in_order() -> None:
    found = list(writing.passages(BOOK, "harlow", random.Random(3)))
    at = [BOOK.index(row["context"]) for row in found]
    assert len(found) > 10
    assert at == sorted(at)
    assert all(row["doc"] == "harlow" and len(row["context"]) <= writing.LONGEST for row in found)
    assert all(a + len(row["context"]) <= b for a, row, b in zip(at, found, at[1:], strict=False))


def test_spans_stand_in_their_passage() -> None:
    passage = next(writing.passages(BOOK, "harlow", random.Random(3)))["context"]
    found = [span for n in range(30) for span in writing.spans(passage, random.Random(n))]
    assert len(set(found)) > 5
    assert all(span in passage for span in found)
    assert any(" " in span for span in found)


@pytest.mark.parametrize(
    ("question", "fair"),
    [
        ("Who built the mill at Harrow?", True),
        ("Who built the mill at Harrow", False),
        ("Who built it?", False),
        ("Who did he see there then?", False),
        ("Was the mill at Harrow built by Anne Clegg?", False),
    ],
)
def test_a_question_is_fair_if_it_can_be_asked_of_a_book(question: str, fair: bool) -> None:
    assert writing.is_fair(question, {"context": TEXT, "answers": ["Anne Clegg"]}) is fair


def test_what_the_writer_answers_otherwise_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [{"context": TEXT, "answers": [answer], "doc": "mill"} for answer in ("1821", "oats", "Anne Clegg")]
    questions = ["When was the mill at Harrow built?", "What did the mill at Harrow grind?", "no question"]
    replies = iter([questions, ["1821", "wheat"]])
    calls = []

    def written(_: Any, prompts: list[list[int]], *_args: Any, **_options: Any) -> list[list[int]]:
        calls.append([TOKENIZER.decode(prompt, skip_special_tokens=False) for prompt in prompts])
        return [TOKENIZER.encode(reply).ids for reply in next(replies)]

    monkeypatch.setattr(writing, "continuations", written)
    kept = list(writing.kept(teacher(), asked, TOKENIZER, 8, 1))
    assert [(row["question"], row["answers"]) for row in kept] == [(questions[0], ["1821"])]
    assert len(calls[-1]) == 2
    assert "Question: What did the mill at Harrow grind?" in calls[-1][1]
    assert "oats\n" not in calls[-1][1].split("Question:")[1]


def test_the_writer_is_scored_on_what_can_be_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = [{"context": TEXT, "question": "When?", "answers": ["in 1821", "1821"], "unanswerable": False},
                {"context": TEXT, "question": "Who?", "answers": ["Anne Clegg"], "unanswerable": False},
                {"context": TEXT, "question": "Why?", "answers": [], "unanswerable": True}]
    monkeypatch.setattr(writing, "continuations",
                        lambda *_, **__: [TOKENIZER.encode(reply).ids for reply in ("1821", "a miller")])
    assert writing.score(teacher(), held_out, TOKENIZER, 8) == 50.0


def test_written_questions_are_drawn_from(tmp_path: Path) -> None:
    folder = corpus(tmp_path)
    row = {"id": "written-1", "doc": "Clegg", "context": "Anne Clegg had a blue coat.", "unanswerable": False,
           "question": "What colour was the coat of Anne Clegg?", "answers": ["blue"]}
    out = tmp_path / "qa-written-1.jsonl.zst"
    assert writing.save(iter([row]), out) == 1
    assert list(rows(out)) == [json.loads(json.dumps(row))]
    empty = tmp_path / "qa-written-2.jsonl.zst"
    assert writing.save(iter([]), empty) == 0
    assert Builder(folder, FORM, seed=1, written=[empty]).draw().turns
    builder = Builder(folder, FORM, seed=1, written=[out, empty])
    assert any(turn.source == "written-1" for _ in range(50) for turn in builder.draw().turns)


def test_two_writers_may_ask_about_one_passage(tmp_path: Path) -> None:
    row = {"id": "written-1", "doc": "Clegg, 11", "context": "Anne Clegg had a blue coat.", "unanswerable": False,
           "question": "What colour was the coat of Anne Clegg?", "answers": ["blue"]}
    files = [tmp_path / "qa-written-11.jsonl.zst", tmp_path / "qa-written-12.jsonl.zst"]
    writing.save(iter([row]), files[0])
    writing.save(iter([row | {"id": "written-2", "doc": "Clegg, 12"}]), files[1])
    pools = Pools(corpus(tmp_path), random.Random(1), written=files)
    assert pools.by_doc["Clegg, 11"] == pools.by_doc["Clegg, 12"] == [row["context"]]
    assert {"Clegg, 11", "Clegg, 12"} <= pools.names.keys()


def test_it_writes_until_its_time_is_over() -> None:
    found = list(writing.write(teacher(), [("harlow", BOOK[:1200])], TOKENIZER, random.Random(1), 0.01, 1))
    assert found == []  # random weights ask nothing that can be kept
