"""Sentences and passages: nothing lost, nothing twice, cut where a reader would."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sentences import LONGEST, passages, sentences


def of(text: str) -> list[str]:
    """The sentences of a text."""
    return [text[s.char_start : s.char_end] for s in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rained. They left! Why? Nobody knew.", ["It rained.", "They left!", "Why?", "Nobody knew."]),
        ("Mr. Brown met J. R. Green. He sat.", ["Mr. Brown met J. R. Green.", "He sat."]),
        ('"Go," he said. "Now!" She went.', ['"Go," he said.', '"Now!"', "She went."]),
        ("It cost 3.5 million. Then 4.", ["It cost 3.5 million.", "Then 4."]),
        ("def f():\n    return 1\n\nx = 2", ["def f():", "return 1", "x = 2"]),
        ("A title\n\nThe text.", ["A title", "The text."]),
        ("雨が降った。彼は出た。", ["雨が降った。", "彼は出た。"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_a_text_is_cut_where_a_reader_would(text: str, expected: list[str]) -> None:
    assert of(text) == expected


def test_a_sentence_goes_on_over_wrapped_lines() -> None:
    text = "The valley was surrounded on all sides by steep and\nrocky mountains, rising into peaks. They were white."
    assert len(of(text)) == 2


def test_a_sentence_that_begins_in_the_midst_of_a_wrapped_line_goes_on_in_the_next() -> None:
    text = "She had built two harbours in the south. Construction began in April\nand took four years. It was high."
    assert of(text)[1] == "Construction began in April\nand took four years."
    assert of("It rained. They\nleft.")[1:] == ["They", "left."]  # a short line is a line of its own


@given(st.text(st.sampled_from("aB. \n,é。?\"'"), max_size=900))
def test_every_character_but_blanks_is_in_one_sentence_and_one_passage(text: str) -> None:
    for cut in (list(sentences(text)), passages(text, size=100)):
        covered = "".join(text[piece.char_start : piece.char_end] for piece in cut)
        assert "".join(covered.split()) == "".join(text.split())
        assert all(a.char_end <= b.char_start for a, b in pairwise(cut))


def test_long_sentences_and_words_are_cut() -> None:
    text = "one two, " * 100 + "x" * 1000
    assert max(len(sentence) for sentence in of(text)) <= LONGEST


def test_passages_join_short_paragraphs_and_keep_long_ones_apart() -> None:
    text = "One.\n\nTwo.\n\n" + "Three is long. " * 20 + "\n\n" + "Four is long. " * 20
    found = [text[p.char_start : p.char_end] for p in passages(text, size=320)]
    assert [words[:4] for words in found] == ["One.", "Four"]
    assert "Two." in found[0]
    assert found[0].endswith("Three is long.")
