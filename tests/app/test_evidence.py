"""Evidence from a document: the right passage first, each under its file."""

from pathlib import Path

import pytest

from app import library
from app.answers import places_of
from app.evidence import SHORT, SIZE, chosen, find, in_context, is_foreign, is_open, shown
from app.excerpts import share
from app.home import Home
from app.passages import Passage

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
    [("And who lives there?", True), ("Where did he go?", True), ("Why?", True), ("Who built the bridge?", False),
     ("How old is that bridge?", True), ("What is the name of the ship that struck the bridge?", False),
     ("Why was the bridge painted red?", False), ("Is there a north gate?", False), ("Who lived there?", True),
     ("What did Anna give to her brother?", False), ("What did the miller do when the corn gave him trouble?", False)],
)  # fmt: skip
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


@pytest.fixture
def scattered(home: Home, tmp_path: Path) -> str:
    """A document that speaks of the mill in six places far from each other."""
    other = "Herons live by the river all winter, and nobody knows how many there are. " * 20
    text = "".join(f"The mill had owner number {n}. Her name was Anna {n}. {other}" for n in range(6))
    (tmp_path / "text.txt").write_text(text, "utf-8")
    return library.add(home, [tmp_path / "text.txt"]).id


def test_excerpts_of_several_places_share_the_room_of_a_passage(home: Home, scattered: str) -> None:
    places = places_of(home, scattered)
    whole = chosen(find(home, scattered, places, "Who owned the mill?"), 1)
    pieces = chosen(find(home, scattered, places, "Who owned the mill?", 200), 1)
    assert whole[0].passage.length > 500 > sum(one.passage.length for one in whole[1:])
    assert len(pieces) >= 3
    assert all("mill had owner" in places.words(one.passage) for one in pieces)
    assert all("Her name was Anna" in places.words(one.passage) for one in pieces)  # what stands beside it comes along
    assert all(len(places.words(one.passage)) <= 200 for one in pieces)
    assert sum(len(places.words(one.passage)) for one in pieces) <= SIZE
    assert len(chosen(find(home, scattered, places, "Who owned the mill?", 200), 2)) > len(pieces)


def test_an_excerpt_is_cut_to_the_room_that_is_left(home: Home, scattered: str) -> None:
    found = find(home, scattered, places_of(home, scattered), "Who owned the mill?", 300)
    first, second, third, *_ = chosen(found, 1)
    assert [first, second] == found[:2]
    assert third.passage.length <= SIZE - first.passage.length - second.passage.length < found[2].passage.length
    assert third.sentence == found[2].sentence
    assert 1 < len(third.sentences) < len(found[2].sentences)
    assert all(share(sentence, third.passage) for _, sentence in third.sentences)


def test_a_sentence_longer_than_the_room_is_not_shown(home: Home, scattered: str) -> None:
    one = find(home, scattered, places_of(home, scattered), "Who owned the mill?", 400)[0]
    assert one.within(one.passage.length) == one
    assert one.within(one.sentence.length) is not None
    assert one.within(one.sentence.length - 1) is None


def test_a_sentence_is_in_one_excerpt_only(home: Home, scattered: str) -> None:
    found = find(home, scattered, places_of(home, scattered), "Which herons live by the mill?", 150)
    assert len(found) > 4
    for n, one in enumerate(found):
        assert not any(share(one.passage, other.passage) for other in found[:n])
        assert all(share(sentence, one.passage) for _, sentence in one.sentences)
    assert [one.sentence for one in found] == [max(one.sentences, key=lambda each: each[0])[1] for one in found]


def test_the_first_is_shown_however_long_it_is(home: Home, scattered: str) -> None:
    found = find(home, scattered, places_of(home, scattered), "mill")
    assert chosen(found, 0) == found[:1]
    assert chosen([], 4) == []


def test_lines_of_code_are_shown_by_the_passage(home: Home, document: str) -> None:
    places = places_of(home, document)
    first = find(home, document, places, "Where is grind defined?", 100)[0].passage
    assert first.char_end - first.char_start > 500


@pytest.mark.parametrize(("times", "cut"), [(10, False), (24, True)])
def test_a_short_text_is_not_cut_into_pieces(home: Home, tmp_path: Path, times: int, cut: bool) -> None:
    text = " ".join(f"The mill had owner number {n}, and nobody knows her name, or why she left." for n in range(times))
    assert (len(text) > SHORT) is cut
    (tmp_path / "text.txt").write_text(text, "utf-8")
    document = library.add(home, [tmp_path / "text.txt"]).id
    first = find(home, document, places_of(home, document), "Who owned the mill?", 200)[0].passage
    assert (first.char_end - first.char_start <= 200) is cut


def test_what_follows_in_the_text_is_shown_as_it_stands_there(home: Home, document: str) -> None:
    places = places_of(home, document)
    start = places.text.index("Herons")
    length = len("Herons live by the river all winter.")
    one, two, _, far = (Passage(start + n * (length + 1), start + n * (length + 1) + length) for n in range(4))
    words = shown(places, [far, two, one])
    assert places.text[one.char_start : two.char_end] + "\n\n" + places.words(far) in words
    assert words.count("# File:") == 1  # once for all that is of one file


@pytest.mark.parametrize(("question", "is_so"), [
    ("Why did the king leave?", True), ("How did he cross the river?", True), ("What happened to the mill?", True),
    ("What will the girl do in the wood?", True), ("What did the boy feel?", True), ("what  happens then?", True),
    ("How many brothers were there?", False), ("How long did it take?", False), ("Who was the miller?", False),
    ("What did the king give her?", False), ("What was the river called?", False), ("When did that happen?", False),
])  # fmt: skip
def test_what_asks_for_reasons_ways_and_deeds_is_open(question: str, is_so: bool) -> None:
    assert is_open(question) is is_so
