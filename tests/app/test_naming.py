"""Documents of one title are told apart, the others keep theirs."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from app import library
from app.home import Home
from app.naming import names, told_apart
from storage.documents import Document


@pytest.fixture
def document(home: Home, book: Path) -> Document:
    """A document."""
    return library.add(home, [book], "A tale")


def at(*when: int) -> float:
    """Seconds since 1970 of a local time."""
    return datetime(*when).timestamp()  # type: ignore[arg-type]


def test_a_title_of_its_own_stays_as_it_is(home: Home, document: Document) -> None:
    assert names(home) == {document.id: "A tale"}


@pytest.mark.parametrize(
    ("one", "other", "called"),
    [
        ({"origin": "a.txt"}, {"origin": "x/b.txt"}, ["A tale (a.txt)", "A tale (b.txt)"]),
        ({"created_at": at(2026, 3, 1)}, {"created_at": at(2026, 3, 2)},
         ["A tale (added 2026-03-01)", "A tale (added 2026-03-02)"]),
        ({"created_at": at(2026, 3, 1, 9, 5)}, {"created_at": at(2026, 3, 1, 9, 6)},
         ["A tale (added 2026-03-01 09:05)", "A tale (added 2026-03-01 09:06)"]),
        ({}, {}, ["A tale (0a1b1)", "A tale (0a1b2)"]),
        ({"origin": "a.txt\nb.txt"}, {"origin": "c.txt\nd.txt"}, ["A tale (0a1b1)", "A tale (0a1b2)"]),
        ({}, {"title": "Another"}, ["A tale", "Another"]),
    ],
)  # fmt: skip
def test_documents_of_one_title(
    document: Document, one: dict[str, object], other: dict[str, object], called: list[str]
) -> None:
    two = replace(document, id="0a1b1", **one), replace(document, id="0a1b2", **other)  # type: ignore[arg-type]
    assert list(told_apart(two).values()) == called
