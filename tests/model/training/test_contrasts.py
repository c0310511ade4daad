"""Of a contrast's two questions the passage answers one, whichever of them was given."""

import random

import pytest

from model.training import contrasts

PASSAGE = ("In 1821 Anne Clegg built the largest mill of York. "
           "Her son sold it after the war of 1848 to Robert Pike, who was not from Leeds.")


def made(question: str, answer: str, fixed: bool = False) -> set[contrasts.Contrast]:
    """What is made of a question, drawn many times."""
    drawn = [contrasts.make(question, PASSAGE, answer, ["Hull"], random.Random(n), fixed) for n in range(300)]
    return {each for each in drawn if each}


@pytest.mark.parametrize(("question", "answer", "missed"), [
    ("What did Anne Clegg build?", "the largest mill", "What did Robert Pike build?"),
    ("What did Anne Clegg build?", "the largest mill", "What did Hull build?"),
    ("What did Anne Clegg build?", "the largest mill", "What didn't Anne Clegg build?"),
    ("Where did Robert Pike not come from?", "Leeds", "Where did Robert Pike come from?"),
    ("What happened in 1821?", "mill", "What happened in 1848?"),
    ("Who sold it after the war?", "Her son", "Who bought it after the war?"),
    ("What did Anne Clegg build in York?", "the largest mill", "What did York build in Anne Clegg?"),
])  # fmt: skip
def test_one_thing_of_the_question_is_changed(question: str, answer: str, missed: str) -> None:
    assert contrasts.Contrast(PASSAGE, question, missed) in made(question, answer)


def test_changed_in_the_passage_too_the_other_question_is_answered() -> None:
    question, other = "Who sold it after the war?", "Who bought it after the war?"
    assert contrasts.Contrast(PASSAGE.replace("sold", "bought"), other, question) in made(question, "Her son")
    exchanged = PASSAGE.replace("Anne Clegg", "X").replace("Robert Pike", "Anne Clegg").replace("X", "Robert Pike")
    assert contrasts.Contrast(exchanged, "What did Robert Pike build?", "What did Anne Clegg build?") in made(
        "What did Anne Clegg build?", "the largest mill")


def test_the_answer_stays_and_where_it_is_fixed_the_passage() -> None:
    for each in made("When did Anne Clegg build the largest mill of York?", "1821"):
        assert "1821" in each.passage
        assert each.answered != each.missed
    assert {each.passage for each in made("Who sold it after the war?", "Her son", fixed=True)} == {PASSAGE}


def test_a_question_without_names_numbers_or_verbs_to_turn_has_none() -> None:
    assert made("Why?", "Her son") == set()
