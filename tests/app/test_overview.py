"""Outline, summary, key terms and questions: all from the document's own words."""

from pathlib import Path

import pytest

from app import library, overview
from app.answers import places_of
from app.errors import OncereadError
from app.home import Home

BOOK = """CHAPTER ONE

The mill at Corbel stood by the river, and the miller was called Anna Reed. The mill ground corn for all of Corbel.
It was cold. Everybody in Corbel brought corn to the mill of Anna Reed by the river.

CHAPTER TWO

Later the flood came down the valley. The flood took the bridge, the bridge that Anna Reed had paid for. Nobody ever
built the bridge again after that great flood, and so the valley was cut in two for many years.
"""


@pytest.fixture
def book(home: Home, tmp_path: Path) -> str:
    """A document of two chapters."""
    path = tmp_path / "tale.txt"
    path.write_text(BOOK, "utf-8")
    return library.add(home, [path]).id


def test_parts_follow_each_other_and_begin_with_their_headings(home: Home, book: str) -> None:
    parts = overview.outline(home, book)
    places = places_of(home, book)
    assert [part.title for part in parts] == ["CHAPTER ONE", "CHAPTER TWO"]
    assert places.words(parts[0].passage).startswith("CHAPTER ONE")
    assert parts[0].passage.char_end == parts[1].passage.char_start
    assert parts[1].passage.char_end == len(places.text)


def test_each_parts_summary_is_its_own_sentences_with_places(home: Home, book: str) -> None:
    one, two = overview.summary(home, book, most=1)
    places = places_of(home, book)
    for part, word in ((one, "mill"), (two, "flood")):
        (sentence,) = part.sentences
        assert word in sentence.quote
        assert sentence.place is not None
        assert places.text[sentence.place.char_start : sentence.place.char_end] == sentence.quote
    (only,) = overview.summary(home, book, "two")
    assert only.title == "CHAPTER TWO"
    with pytest.raises(OncereadError, match="no part of the document"):
        overview.summary(home, book, "three")


def test_key_terms_say_how_often_and_where_first(home: Home, book: str) -> None:
    terms = {term.term: term for term in overview.key_terms(home, book)}
    assert terms["Anna Reed"].count == 3
    place = terms["Anna Reed"].first.place
    assert place is not None
    assert BOOK.index("Anna Reed") == place.char_start
    assert "The" not in terms


def test_a_common_word_is_no_term_though_a_full_stop_has_no_space_behind_it(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    path.write_text("We met Harlow.The mill stood.The mill fell, said Harlow.The end.", "utf-8")
    assert [term.term for term in overview.key_terms(home, library.add(home, [path]).id)] == ["Harlow"]


def test_questions_come_from_the_documents_own_words(home: Home, book: str) -> None:
    asked = overview.questions(home, book)
    assert "Who or what is Anna Reed?" in asked
    assert len(asked) <= overview.ASKED


@pytest.mark.parametrize(
    ("heading", "words"),
    [("CHAPTER II.", ""), ("Chapter One", ""), ("Part 3: The flood", "The flood"), ("CHAPTER IV. THE MILL", "The mill"),
     ("2.1 Two mills", "Two mills"), ("Civil war", "Civil war"), ("CHAPTER III", "")],
)  # fmt: skip
def test_a_heading_is_asked_about_without_its_number(heading: str, words: str) -> None:
    assert overview._plain(heading) == words


def test_nothing_is_asked_about_a_number(home: Home, book: str) -> None:
    assert not any("document say about" in question for question in overview.questions(home, book))


def test_files_are_parts_where_there_are_several(home: Home, tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / "src" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "src" / name).write_text(f"def of_{name[0]}():\n    return 1\n", "utf-8")
    document = library.add(home, [tmp_path / "src"]).id
    assert [part.title.rsplit("/")[-1] for part in overview.outline(home, document)] == ["a.py", "b.py"]


def test_a_text_without_headings_is_one_part(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("Just one sentence, which is long enough to be shown to anybody.", "utf-8")
    document = library.add(home, [path]).id
    assert overview.outline(home, document) == []
    (only,) = overview.summary(home, document)
    assert only.sentences[0].quote.startswith("Just one")
