"""Finding a quote in the text of a page, as readers see both."""

import pytest

from app.pageimage import find


@pytest.mark.parametrize(
    ("text", "quote", "found"),
    [
        ("The fi\u0002re of “Anvers”\r\nburned", "fire of 'Anvers' burned", "fi\u0002re of “Anvers”\r\nburned"),
        ("It was the ﬁrst of all", "first of all", "ﬁrst of all"),
        ("Ends where the page ends", "where the page ends, and goes on to another", "where the page ends"),
        ("Short ones", "ones", "ones"),
        ("Nothing of it", "wolves ate her in the end", ""),
        ("", "", ""),
    ],
)
def test_find(text: str, quote: str, found: str) -> None:
    start, end = find(text, quote)
    assert text[start:end] == found
