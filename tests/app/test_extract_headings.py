"""Headings of Markdown, reStructuredText and plain books."""

import pytest

from app.extract.headings import book_headings, markdown_headings, rst_headings
from app.extract.parts import Heading


def found(headings: tuple[Heading, ...], text: str) -> list[tuple[int, str]]:
    for heading in headings:
        assert text[heading.char_start :].lstrip(" #").startswith(heading.title)
    return [(heading.level, heading.title) for heading in headings]


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        ("intro\n\n## The *Title* ##\n# Other", [(2, "The *Title*"), (1, "Other")]),
        ("```\n# no heading\n```\n# Yes", [(1, "Yes")]),
        ("````\n```\n# no\n```\n````\n# Yes", [(1, "Yes")]),
        ("Underlined\n=====\n\nTwo\n---\n\n# Later", [(1, "Underlined"), (2, "Two"), (1, "Later")]),
        ("---\ntitle: x\n---\n\n# One", [(1, "One")]),
        ("- a list\n---\n\nword\n\n---\n#hashtag\nno heading", []),
        ("# \n####### seven", []),
    ],
)
def test_markdown(text: str, headings: list[tuple[int, str]]) -> None:
    assert found(markdown_headings(text), text) == headings


def test_restructured_text() -> None:
    text = "=====\nTitle\n=====\n\nwords\n\nSection\n-------\n\n::\n\n    code\n\nSub\n~~~\n\nNext\n----\n\n"
    text += "====  ====\na     b\n====  ====\n"
    assert found(rst_headings(text), text) == [(1, "Title"), (2, "Section"), (3, "Sub"), (2, "Next")]


def test_books() -> None:
    text = "BOOK ONE\n\nCHAPTER I. The Mill\n\nChapter one was not easy to write,\nhe said.\n\nChapter 2\n\nEpilogue\n"
    headings = [(1, "BOOK ONE"), (2, "CHAPTER I. The Mill"), (2, "Chapter 2"), (2, "Epilogue")]
    assert found(book_headings(text), text) == headings
    assert found(book_headings("Chapter I\n\nx"), "Chapter I\n\nx") == [(1, "Chapter I")]


def test_printed_books_have_no_blank_lines() -> None:
    text = "Chapter 1\nIt was cold, and in\nchapter 2 it says why.\nCHAPTER II. Warmth\nIt was warm.\nPreface\nno"
    assert found(book_headings(text, printed=True), text) == [(1, "Chapter 1"), (1, "CHAPTER II. Warmth")]
    assert book_headings(text) == ()


def test_hostile_lines_take_no_time() -> None:
    for text in ("=" * 300_000, "# " * 200_000, "#" + " " * 300_000 + "x", "chapter " * 50_000, "`" * 300_000):
        for headings in (markdown_headings, rst_headings, book_headings):
            headings(text + "\n" + text)
