"""Excerpts: a sentence with its neighbours, as far as they fit."""

import pytest

from app.excerpts import around, line_of, share
from app.passages import Passage, Places
from storage.documents import Segment

FIRST = "".join(f"Miller {n} ground corn. " for n in range(100))
SECOND = "".join(f"Heron {n} ate fish. " for n in range(100))
PLACES = Places(
    FIRST + SECOND,
    [Segment(0, 0, len(FIRST), "a.txt", None, 1), Segment(1, len(FIRST), len(FIRST + SECOND), "b.txt", None, 1)],
)


def passage(first: str, last: str) -> Passage:
    """From the sentence that begins so to the end of the one that begins so."""
    start = PLACES.text.index(first)
    return Passage(start, PLACES.text.index(".", PLACES.text.index(last)) + 1)


def words(line: list[Passage]) -> list[str]:
    return [PLACES.words(sentence) for sentence in line]


def test_a_line_goes_on_to_both_sides_in_whole_sentences() -> None:
    line, own = line_of(PLACES, passage("Miller 40 ", "Miller 42 "), 100)
    assert words(line[own.start : own.stop]) == [f"Miller {n} ground corn." for n in (40, 41, 42)]
    numbers = [int(sentence.split()[1]) for sentence in words(line)]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert set(words(line)) <= {f"Miller {n} ground corn." for n in range(100)}
    assert line[own.start].char_start - line[0].char_start >= 100
    assert line[-1].char_end - line[own.stop - 1].char_end >= 100


@pytest.mark.parametrize(
    ("sentence", "first", "last"), [("Heron 0 ", "Heron 0", "Heron 9"), ("Miller 99 ", "Miller 95", "Miller 99")]
)
def test_a_line_ends_with_its_file(sentence: str, first: str, last: str) -> None:
    line, own = line_of(PLACES, passage(sentence, sentence), 100)
    inside = words(line)
    assert any(each.startswith(first) for each in inside)
    assert any(each.startswith(last) for each in inside)
    assert len({each.split()[0] for each in inside}) == 1
    assert line[own.start] == passage(sentence, sentence)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, (10, 11)), (22, (10, 11)), (50, (10, 12)), (75, (9, 12)), (100, (9, 13)), (10_000, (0, 20))],
)
def test_an_excerpt_grows_by_turns_as_far_as_it_may(size: int, expected: tuple[int, int]) -> None:
    line = [passage(f"Miller {n} ", f"Miller {n} ") for n in range(20)]
    part = around(line, 10, size, [])
    assert (part.start, part.stop) == expected


def test_an_excerpt_leaves_what_is_taken() -> None:
    line = [passage(f"Miller {n} ", f"Miller {n} ") for n in range(20)]
    part = around(line, 10, 10_000, [Passage(line[4].char_start, line[7].char_end), line[12]])
    assert (part.start, part.stop) == (8, 12)


def test_passages_that_only_touch_share_nothing() -> None:
    assert not share(Passage(0, 4), Passage(4, 8))
    assert share(Passage(0, 5), Passage(4, 8))
    assert share(Passage(0, 9), Passage(4, 8))
