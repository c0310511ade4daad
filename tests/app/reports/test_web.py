"""The page stands alone, runs nothing, links each quote to its place and back, and escapes all it did not write."""

import re
from html.parser import HTMLParser

from app.reports import web
from tests.app.reports.finished import FINISHED

PAGE = web.write(FINISHED)


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.seen.append((tag, dict(attrs)))


def tags() -> list[tuple[str, dict[str, str | None]]]:
    """The page's tags."""
    parser = Tags()
    parser.feed(PAGE)
    return parser.seen


def test_it_loads_and_runs_nothing() -> None:
    assert not {tag for tag, _ in tags()} & {"script", "img", "link", "iframe", "object", "form", "base"}
    assert all(not name.startswith("on") for _, attributes in tags() for name in attributes)
    assert "default-src 'none'" in PAGE
    assert "url(" not in PAGE
    assert "@media print" in PAGE


def test_quotes_and_places_link_to_each_other() -> None:
    ids = {attributes["id"] for _, attributes in tags() if "id" in attributes}
    links = {str(attributes["href"]) for tag, attributes in tags() if tag == "a"}
    assert ids == {"q1", "q2", "q3", "r1", "r2", "r3"}
    assert links == {f"#{id}" for id in ids}
    words = re.sub(r"\s+", " ", PAGE)
    assert "before <mark>the &#39;words&#39;</mark> &lt;after&gt;" in words
    assert "book.txt, page 3, line 7" in words


def test_everything_else_is_escaped() -> None:
    assert "A &lt;b&gt;book&lt;/b&gt;" in PAGE
    assert "<b>book" not in PAGE
    assert "never &lt;said&gt;" in PAGE
    assert "About &lt;it&gt;" in PAGE


def test_it_says_what_a_person_must_look_at_and_what_it_was_made_from() -> None:
    for words in ("Gone / Chapters: out of memory", "Across documents", "removed from the library", "x.bin: binary",
                  "1,234 characters", "mini (f00)", "2026-01-01", "seed 0", "Put together from 1 answers", "2 found"):
        assert words in PAGE, words
