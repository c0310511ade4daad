"""Kinds of answer: from what the model wrote to a value a table can hold, or what is wrong with it."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

from dateutil import parser as dates

Kind = Literal["text", "one of", "list", "number", "date", "yes/no"]
Value = str | float | int | bool | list[str]
"""text and one of: str; list: list[str]; number: int or float; date: ISO 8601, as exact as was said; yes/no: bool."""

SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


class NoValue(ValueError):
    """The answer is not of its kind; the message says why, to the person who is to look at it."""


def value(kind: Kind, answer: str, options: Sequence[str] = ()) -> Value:
    """The value of an answer. Raises NoValue."""
    if kind == "one of":
        return _one_of(answer, options)
    return _READERS[kind](answer)


def _one_of(answer: str, options: Sequence[str]) -> str:
    said = _bare(answer)
    exact = [option for option in options if _bare(option) == said]
    inside = [o for o in options if re.search(rf"(?<!\w){re.escape(_bare(o))}(?!\w)", said)]
    # "not binding" holds "binding": an option inside a longer one that is there too does not count.
    longest = [o for o in inside if not any(_bare(o) in _bare(other) and o != other for other in inside)]
    found = exact or longest
    if len(found) != 1:
        raise NoValue(f"{'none' if not found else 'more than one'} of the options: {', '.join(options)}")
    return found[0]


def _list(answer: str) -> list[str]:
    separator = r"\n" if "\n" in answer.strip() else ";" if ";" in answer else r",(?!\d)|\band\b"
    items = [re.sub(r"^\s*(?:[-*•–]|\d+[.)])\s+", "", item).strip(" .\t") for item in re.split(separator, answer)]
    items = list(dict.fromkeys(item for item in items if item))
    if not items:
        raise NoValue("no list")
    return items


def _number(answer: str) -> float | int:
    found = re.findall(r"(?<![\w.,])[-−+]?\d[\d,  ']*(?:\.\d+)?(?:e[+-]?\d+)?", answer, re.IGNORECASE)
    if not found:
        found = [str(SMALL.index(word)) for word in re.findall(r"[a-z]+", answer.casefold()) if word in SMALL]
    if len(found) != 1:
        raise NoValue("no number" if not found else "more than one number")
    number = float(re.sub(r"[,  ']", "", found[0].replace("−", "-")))
    return int(number) if number.is_integer() else number


def _date(answer: str) -> str:
    """The date in an answer, with as much of it as the answer gives: 1789, 1789-07 or 1789-07-14."""
    try:
        # What is not said is taken from the default; so what differs between two defaults was not said.
        one, other = (dates.parse(answer, fuzzy=True, default=default) for default in _DEFAULTS)
    except (ValueError, OverflowError) as error:
        raise NoValue("no date that can be read") from error
    if one.year != other.year:
        raise NoValue("a date without a year")
    if one.month != other.month:
        return f"{one.year:04}"
    return f"{one:%Y-%m}" if one.day != other.day else f"{one:%Y-%m-%d}"


_DEFAULTS = (datetime(1904, 1, 1), datetime(1908, 12, 31))


def _yes_no(answer: str) -> bool:
    word = re.match(r"\W*(yes|no)\b", answer, re.IGNORECASE)
    if word is None:
        raise NoValue("neither yes nor no")
    return word[1].casefold() == "yes"


def _text(answer: str) -> str:
    if not answer.strip():
        raise NoValue("an empty answer")
    return answer.strip()


_READERS: dict[Kind, Callable[[str], Value]] = {
    "text": _text, "list": _list, "number": _number, "date": _date, "yes/no": _yes_no,
}


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,;:!'\"`*_")
