"""Code as it is shown: every character there, in its line, and the right ones marked."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ui.test_markup import Shown
from ui import listing as code

LINES = [
    "def f(x):\n", '    """a <b> doc\n', '    more"""\n', "    return x + 1  # why & how\n", "\n", "class A: pass\r\n",
]  # fmt: skip


def rows(html: str) -> list[tuple[int, str]]:
    """Line numbers with the text of their lines."""
    found = re.findall(r'aria-hidden="true">(\d+)</td><td>(.*?)</td>', html)
    return [(int(number), Shown(row).text) for number, row in found]


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=120), st.data())
def test_nothing_is_lost_or_invented(lines: list[str], data: st.DataObject) -> None:
    text = "".join(lines)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, min(len(text), start + 200)))
    lexer = code.lexer_of("a.py")
    assert lexer is not None
    html = code.listing(text, start, end, lexer, 11)
    shown = [(number, line if line != " " else "") for number, line in rows(html)]
    whole = [(n + 11, line.rstrip("\r\n")) for n, line in enumerate([*text.split("\n")])]
    assert shown == [(n, line.strip() and line) for n, line in whole if n in dict(shown)] or shown == [
        pair for pair in whole if pair[0] in dict(shown)
    ]
    marked = "".join(Shown(part).text for part in re.findall("<mark>(.*?)</mark>", html))
    assert marked == re.sub(r"\r*\n|\r$", "", text[start:end])
    first_line = 11 + text.count("\n", 0, start)
    assert first_line in dict(shown)


def test_what_is_code_and_what_is_not() -> None:
    assert code.lexer_of("src/main.rs")
    assert code.lexer_of("a.py")
    for prose in ("book.txt", "README.md", "a.unknown", "book"):
        assert code.lexer_of(prose) is None


@pytest.mark.parametrize("name", ["a.py", "a.js"])
def test_a_huge_file_is_shown_plain_and_at_once(name: str) -> None:
    text = "x = 1\n" * 200_000
    lexer = code.lexer_of(name)
    assert lexer is not None
    html = code.listing(text, 600_000, 600_005, lexer)
    assert len(rows(html)) <= 2 * code.AROUND + 2
    assert "or-m" not in html
