"""Questions that were written about passages: joined to them, drawn in pairs, learned as answers and as refusals."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard

from model.training import lessons, pools
from model.training.data import rows
from model.training.drawing import Builder
from model.training.pools import NEAR, Pools
from tests.model.training.test_tasks import FORM, TEXT, corpus

BEGIN = TEXT.index("It ground")
OATS = {"id": "near-0", "of": "r1", "question": "What did the mill at Harrow grind?", "answers": ["oats"]}
WHEAT = {"id": "near-1", "of": "r1", "question": "Who ground wheat at Harrow?", "answers": []}
PART = {"id": "near-2", "of": "r1", "at": [BEGIN, len(TEXT)], "question": "Who sold it?", "answers": ["Her son"]}
MISSED = {"id": "near-3", "of": "r1", "at": [BEGIN, len(TEXT)], "question": "Who bought flour?", "answers": []}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus with two such questions about a passage, and two about a part of it."""
    lines: list[dict[str, Any]] = [OATS, WHEAT, PART, MISSED]
    file = corpus(tmp_path) / "near.jsonl.zst"
    file.write_bytes(zstandard.compress("\n".join(map(json.dumps, lines)).encode()))
    monkeypatch.setattr(pools, "NEAR", file)
    return tmp_path


def test_they_are_joined_to_their_passage_or_the_part_of_it(folder: Path) -> None:
    found = Pools(folder, random.Random(1))
    assert {passage: [row["id"] for row in some] for passage, some in found.near.items()} == {
        TEXT: ["near-1"], TEXT[BEGIN:]: ["near-3"],
    }
    assert [row["id"] for row in found.missed] == ["near-1", "near-3"]
    for passage, answered, missed in ((TEXT, {"near-0", "r1"}, "near-1"), (TEXT[BEGIN:], {"near-2"}, "near-3")):
        pairs = [pair for _ in range(20) if (pair := found.pair(passage))]
        assert len(pairs) == 20
        assert {pair[0]["id"] for pair in pairs} == answered
        assert {pair[1]["id"] for pair in pairs} == {missed}
        assert all(row["context"] == passage and row["doc"] == "mill" for pair in pairs for row in pair)
    assert found.pair("Rosa swam the lake.") is None


def test_passages_that_have_them_are_drawn_more_often(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "NEAR_SHARE", 1.0)
    found = Pools(folder, random.Random(1))
    assert {found.context() for _ in range(50)} == {TEXT, TEXT[BEGIN:]}


def test_the_reader_learns_as_many_that_are_answered_as_that_are_not(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "MADE_UP", 0.0)
    found = Pools(folder, random.Random(1))
    drawn = Counter(each for _ in range(400) if (each := lessons.example(found, near=1.0)))
    spans = {(question, passage[start:end] if start >= 0 else None) for question, passage, start, end in drawn}
    assert spans == {("When was the mill built?", "1821")} | {(row["question"], answer) for row, answer in (
        (OATS, "oats"), (WHEAT, None), (PART, "Her son"), (MISSED, None))}
    assert 150 < sum(count for (_, _, start, _), count in drawn.items() if start < 0) < 250


def test_a_sample_shows_both_the_same_evidence(folder: Path) -> None:
    builder = Builder(folder, FORM, seed=3)
    row = builder.pools.of_context[TEXT][0]
    pairs = [both for _ in range(300) if len(both := builder.evidence.of_row(row, [TEXT])) == 2]
    near = [both for both in pairs if "near-1" in {turn.source for turn in both}]
    assert len(near) > 30
    answers = {"near-0": "oats", "r1": "1821"}
    assert {turn.source for both in near for turn in both} == {"near-1", *answers}
    for both in near:
        replies = {turn.source: turn.reply for turn in both}
        assert replies.pop("near-1") == FORM.not_found
        assert all(reply.endswith(f"Answer: {answers[of]}") for of, reply in replies.items())
        one, other = (sorted(turn.shown.split("\n\n")) for turn in both)
        assert one == other
        assert all(answers[of] in both[0].shown for of in replies)


def test_the_questions_that_came_with_the_project_are_whole() -> None:
    found = list(rows(NEAR))
    assert len({row["id"] for row in found}) == len(found) > 25_000
    assert len({(row["of"], row["question"].lower()) for row in found}) == len(found)
    in_pairs, twins = found[:45_489], found[45_489:]  # what stands against a twin is the question it was made from
    assert sum(1 for row in in_pairs if row["answers"]) == pytest.approx(len(in_pairs) / 2, rel=0.01)
    assert not any(row["answers"] for row in twins)
    for row in found:
        assert row["of"]
        assert len(row["question"]) > 8
        assert all(answer == answer.strip() != "" for answer in row["answers"])
        assert "at" not in row or 0 <= row["at"][0] < row["at"][1]
