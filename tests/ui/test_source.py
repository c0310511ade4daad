"""The source of a quote: prose, code, a printed page."""

from dataclasses import asdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.library import Document
from app.passages import Place
from storage.documents import Segment
from tests.ui.test_markup import Shown
from ui import source


def book(text: str, path: str = "book.txt", page: int | None = None) -> Document:
    """A document of one file."""
    segments = (Segment(0, 0, len(text), path, page, 1),)
    return Document("0a1b", "Book", "text", "", len(text), None, None, 0.0, 0.0, "", None, "", "", segments, ())


def cited(text: str, start: int, end: int, **where: Any) -> str:
    """The panel for text[start:end]."""
    place = Place(where.get("path", "book.txt"), where.get("page"), 1, 1, start, end)
    citation = {"quote": text[start:end], "verified": True, "place": asdict(place)}
    document = book(text, place.path, place.page)
    return source.panel(document, text, citation, has_pages=where.get("page") is not None)


@given(st.text(alphabet=st.sampled_from("ab \n<&>"), min_size=1, max_size=5000), st.data())
def test_the_quote_is_marked_in_the_documents_own_words(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    html = cited(text, start, end)
    assert Shown(html).tags == ["aside", "header", "strong", "span", "button", "div", "div", "mark"]
    body = Shown(html.partition('or-prose">')[2]).text.removeprefix("… ").removesuffix(" …")
    assert body in text
    assert Shown(html.partition("<mark>")[2].partition("</mark>")[0]).text == text[start:end]


def test_it_begins_and_ends_at_a_line_or_a_word() -> None:
    text = "".join(f"line {n} has some words\n" for n in range(400))
    start = text.index("line 200 has")
    body = Shown(cited(text, start, start + 12).partition('or-prose">')[2]).text
    assert body.startswith("… line 1")
    assert body.endswith("words …")
    assert len(body) < 2 * source.AROUND + 50


def test_code_has_colours_and_line_numbers() -> None:
    text = "import os\n\n\ndef home():\n    return os.environ['HOME']\n"
    start = text.index("return")
    html = cited(text, start, start + 6, path="src/home.py")
    assert '<td class="or-line" aria-hidden="true">5</td><td>    <mark><span class="or-k">return</span></mark>' in html


def test_a_page_is_shown_as_printed_with_its_text() -> None:
    html = cited("The <bees> of Anvers", 4, 10, path="a & b.pdf", page=12)
    assert 'src="/page/0a1b/12.png?path=a+%26+b.pdf&amp;from=4&amp;to=10"' in html
    assert 'alt="Page 12 with the quote marked: &lt;bees&gt;"' in html
    assert "<mark>&lt;bees&gt;</mark>" in html


def test_an_unverified_quote_is_not_placed() -> None:
    html = source.panel(book("text"), "text", {"quote": "<b>wolves", "verified": False, "place": None})
    assert "not found in the document" in html
    assert "<b>wolves" in Shown(html).text
    assert "mark" not in Shown(html).tags
