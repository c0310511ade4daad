"""A near miss differs from its question in one thing, which the passage does not hold."""

import random

import pytest

from model.training import near_miss

PASSAGE = ("In 1821 Anne Clegg built the largest mill of York. "
           "Her son sold it after the war to Robert Pike for 40 pounds.")


@pytest.mark.parametrize(("question", "expected"), [
    ("Who had a mill in York?", "Who had a mill in Leeds?"),
    ("What is the largest mill?", "What is the smallest mill?"),
    ("What happened after the war?", "What happened before the war?"),
])  # fmt: skip
def test_one_thing_is_changed(question: str, expected: str) -> None:
    assert near_miss.make(question, PASSAGE, ["York", "Leeds"], random.Random(0)) == expected


def test_a_number_is_changed_to_one_that_is_not_there() -> None:
    made = {near_miss.make("What happened in 1821?", PASSAGE, [], random.Random(n)) for n in range(40)}
    assert len(made) > 5
    assert all(m and m.startswith("What happened in ") and "1821" not in m and len(m) == 22 for m in made)


def test_nothing_to_change_gives_none() -> None:
    assert near_miss.make("Why is it so?", PASSAGE, ["York"], random.Random(0)) is None


def test_names_are_found_inside_sentences() -> None:
    assert near_miss.names(PASSAGE) == ["Anne Clegg", "York", "Robert Pike"]
