"""Places lead back to the source, and passages lose nothing."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.extract import Heading, Part
from app.passages import Place, Places, split

PAGES = st.lists(st.text(alphabet="ab\n", max_size=12), min_size=1, max_size=8)


def joined(pages: list[str]) -> tuple[str, list[Part]]:
    """Pages joined by a blank line, as a PDF's are."""
    parts, text = [], ""
    for number, page in enumerate(pages, 1):
        piece = page + ("\n\n" if number < len(pages) else "")
        parts.append(Part(len(text), len(text) + len(piece), "a.pdf", number, 1))
        text += piece
    return text, parts


@given(PAGES, st.data())
def test_every_character_is_placed_on_its_page_and_line(pages: list[str], data: st.DataObject) -> None:
    text, parts = joined(pages)
    places = Places(text, parts)
    number = data.draw(st.integers(1, len(pages)))
    page = pages[number - 1]
    start = data.draw(st.integers(0, len(page)))
    end = data.draw(st.integers(start, len(page)))
    if start == end:
        return
    at = parts[number - 1].char_start
    place = places.locate(at + start, at + end)
    first = page[:start].count("\n") + 1
    assert place == Place("a.pdf", number, first, first + page[start : end - 1].count("\n"), at + start, at + end)


def test_a_stretch_over_two_pages_is_placed_where_it_begins() -> None:
    text, parts = joined(["one\ntwo", "three"])
    assert Places(text, parts).locate(4, len(text)) == Place("a.pdf", 1, 2, 3, 4, len(text))


def test_a_header_line_is_not_counted() -> None:
    text = "# File: a.py\nx = 1\ny = 2\n"
    places = Places(text, [Part(0, len(text), "a.py", None, 0)])
    assert places.locate(text.index("y ="), text.index("y =") + 5).line_start == 2
    assert places.locate(0, 8).line_start == 1


def test_outside_the_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="are not in a text of 3"):
        Places("abc", [Part(0, 3, "a", None, 1)]).locate(2, 4)
    with pytest.raises(ValueError, match="without segments"):
        Places("abc", [])


@given(st.text(alphabet="ab \n\té\u3000", max_size=300) | st.text(max_size=100), st.integers(2, 20))
def test_passages_joined_are_the_text(text: str, size: int) -> None:
    passages = split(text, size)
    assert "".join(text[p.char_start : p.char_end] for p in passages) == text
    assert [p.char_start for p in passages] == [0, *(p.char_end for p in passages)][: len(passages)]
    assert all(0 < p.char_end - p.char_start <= size for p in passages)


def test_passages_end_between_paragraphs_where_they_can() -> None:
    text = "First paragraph here.\n\nSecond paragraph here.\n\nThird one."
    assert [text[p.char_start : p.char_end].strip() for p in split(text, 40)] == [
        "First paragraph here.",
        "Second paragraph here.\n\nThird one.",
    ]


@pytest.mark.parametrize("text", ["x" * 2_000_000, "\n" * 2_000_000, ("y" * 700 + " ") * 3_000])
def test_text_without_separators_is_cut_quickly(text: str) -> None:
    start = time.process_time()
    passages = split(text)
    assert time.process_time() - start < 2
    assert passages[-1].char_end == len(text)


def test_the_chapter_is_the_heading_above() -> None:
    text = "before\nOne\nwords\nTwo\nmore"
    outline = [Heading(1, "One", text.index("One")), Heading(2, "Two", text.index("Two"))]
    places = Places(text, [Part(0, len(text), "a.epub", None, 1)], outline)
    words = ("before", "One", "words", "Two", "more")
    found = {word: places.locate(text.index(word), len(text)).chapter for word in words}
    assert found == {"before": None, "One": "One", "words": "One", "Two": "Two", "more": "Two"}
    files = Places(text, [Part(0, len(text), "a.py", None, 1)], [Heading(1, "a.py", 0)])
    assert files.locate(3, 4).chapter is None
