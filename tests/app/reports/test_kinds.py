"""Answers as values: what is read, and what is left to a person."""

import pytest

from app.reports import kinds
from app.reports.kinds import Kind, NoValue, Value


@pytest.mark.parametrize(
    ("kind", "answer", "value"),
    [
        ("text", " In Rome. ", "In Rome."),
        ("one of", "It is binding.", "binding"),
        ("one of", "**Not binding**", "not binding"),
        ("one of", "not binding at all", "not binding"),
        ("list", "Anna, Bert and Carl", ["Anna", "Bert", "Carl"]),
        ("list", "1. Anna, of Rome\n2) Bert\n- Carl.\n", ["Anna, of Rome", "Bert", "Carl"]),
        ("list", "Anna, the cook; Bert; Anna, the cook", ["Anna, the cook", "Bert"]),
        ("list", "1,000 horses", ["1,000 horses"]),
        ("number", "There were 1,234.5 of them", 1234.5),
        ("number", "−3", -3),
        ("number", "$4 000", 4000),
        ("number", "Three brothers.", 3),
        ("number", "2e3", 2000),
        ("date", "on the 14th of July 1789", "1789-07-14"),
        ("date", "July 1789", "1789-07"),
        ("date", "February 2024", "2024-02"),
        ("date", "in 1789", "1789"),
        ("date", "2024-02-29", "2024-02-29"),
        ("yes/no", "Yes, it does.", True),
        ("yes/no", '"No"', False),
    ],
)
def test_an_answer_has_its_value(kind: Kind, answer: str, value: Value) -> None:
    found = kinds.value(kind, answer, ["binding", "not binding"])
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "answer", "why"),
    [
        ("text", " ", "an empty answer"),
        ("one of", "either", "none of the options: red, blue"),
        ("one of", "red or blue", "more than one of the options"),
        ("one of", "reddish", "none of"),
        ("list", " . ", "no list"),
        ("number", "many", "no number"),
        ("number", "3 or 4", "more than one number"),
        ("date", "the third day", "a date without a year|no date"),
        ("date", "14 July", "a date without a year"),
        ("date", "no idea", "no date"),
        ("yes/no", "Notably so", "neither yes nor no"),
    ],
)
def test_what_is_no_value_says_why(kind: Kind, answer: str, why: str) -> None:
    with pytest.raises(NoValue, match=why):
        kinds.value(kind, answer, ["red", "blue"])
