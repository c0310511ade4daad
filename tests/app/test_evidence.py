"""Evidence from a document: the right passage first, each under its file."""

from pathlib import Path

import pytest

from app import library
from app.answers import places_of
from app.evidence import find, in_context, is_foreign, shown
from app.home import Home

FILES = {
    "mill.py": "def grind(corn):\n    return corn * 2\n" + "# a note on nothing\n" * 60,
    "notes.txt": "The mill was built by Anna Reed.\n\n" + "Herons live by the river all winter. " * 60,
}


@pytest.fixture
def document(home: Home, tmp_path: Path) -> str:
    """A document of two files."""
    for name, text in FILES.items():
        (tmp_path / "src" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "src" / name).write_text(text, "utf-8")
    return library.add(home, [tmp_path / "src"]).id


@pytest.mark.parametrize(
    ("question", "sentence", "path"),
    [
        ("Who built the mill?", "The mill was built by Anna Reed.", "notes.txt"),
        ("Where is grind defined?", "def grind(corn):", "mill.py"),
    ],
)
def test_the_best_sentence_comes_first(home: Home, document: str, question: str, sentence: str, path: str) -> None:
    places = places_of(home, document)
    first = find(home, document, places, question)[0]
    assert places.words(first.sentence) == sentence
    place = places.locate(first.passage.char_start, first.passage.char_end)
    assert place.path.endswith(path)
    assert places.words(first.sentence) in places.words(first.passage)
    assert shown(places, [first.passage]).startswith(f"# File: {place.path}\n")


def test_a_question_of_other_things_finds_nothing(home: Home, document: str) -> None:
    assert find(home, document, places_of(home, document), "Which galaxy collides?") == []


@pytest.mark.parametrize(
    ("question", "foreign"),
    [
        ("Which galaxy collides with the Milky Way?", True),
        ("Who built the mill?", False),
        ("What is the story about?", False),
        ("Who is the main character of this book?", False),
        ("What problem or conflict drives the story?", False),
        ("Does the text claim to be a true story?", False),
        ("Is liability limited?", True),
    ],
)
def test_a_question_of_other_things_is_foreign(home: Home, document: str, question: str, foreign: bool) -> None:
    assert is_foreign(question, find(home, document, places_of(home, document), question)) is foreign


@pytest.mark.parametrize(
    ("question", "at_the_end"),
    [("Where and when does the story take place?", False), ("How does the story end?", True)],
)
def test_a_question_of_the_whole_is_led_to_where_the_text_begins_or_ends(
    home: Home, document: str, question: str, at_the_end: bool
) -> None:
    places = places_of(home, document)
    first, second = (one.passage for one in find(home, document, places, question)[:2])
    beginning, end = (second, first) if at_the_end else (first, second)
    assert beginning.char_start == 0
    assert places.text[end.char_end :].strip() == ""
    assert beginning != end


@pytest.mark.parametrize(
    ("question", "with_the_one_before"),
    [("And who lives there?", True), ("Where did he go?", True), ("Why?", True), ("Who built the bridge?", False)],
)
def test_a_follow_up_is_looked_up_with_the_question_before_it(question: str, with_the_one_before: bool) -> None:
    expected = f"Who built the mill? {question}" if with_the_one_before else question
    assert in_context(question, ["What is it?", "Who built the mill?"]) == expected
    assert in_context(question, []) == question


def test_passages_are_shown_in_the_documents_order(home: Home, document: str) -> None:
    places = places_of(home, document)
    found = find(home, document, places, "herons, and who built the mill")
    words = shown(places, [one.passage for one in found])
    assert words.index("Anna Reed") < words.rindex("Herons")


def test_the_index_goes_with_the_document(home: Home, document: str) -> None:
    find(home, document, places_of(home, document), "mill")
    assert home.evidence.ready(document)
    library.remove(home, document)
    assert not home.evidence.ready(document)
