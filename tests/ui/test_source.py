"""The text around a quote."""

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from app.passages import Place
from tests.ui.test_markup import Shown
from ui import source


def cited(text: str, start: int, end: int) -> str:
    """The panel for text[start:end]."""
    citation = {"quote": text[start:end], "verified": True, "place": asdict(Place("book.txt", None, 1, 1, start, end))}
    return source.panel(text, "Book", citation)


@given(st.text(alphabet=st.sampled_from("ab \n<&>"), min_size=1, max_size=5000), st.data())
def test_the_quote_is_marked_in_the_documents_own_words(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    html = cited(text, start, end)
    assert Shown(html).tags == ["aside", "header", "strong", "span", "div", "mark"]
    body = Shown(html.partition('tabindex="0">')[2]).text.removeprefix("… ").removesuffix(" …")
    assert body in text
    assert Shown(html.partition("<mark>")[2].partition("</mark>")[0]).text == text[start:end]


def test_it_begins_and_ends_at_a_line_or_a_word() -> None:
    text = "".join(f"line {n} has some words\n" for n in range(400))
    start = text.index("line 200 has")
    body = Shown(cited(text, start, start + 12).partition('tabindex="0">')[2]).text
    assert body.startswith("… line 1")
    assert body.endswith("words …")
    assert len(body) < 2 * source.AROUND + 50


def test_an_unverified_quote_is_not_placed() -> None:
    html = source.panel("text", "Book", {"quote": "<b>wolves", "verified": False, "place": None})
    assert "not found in the document" in html
    assert "&lt;b&gt;wolves" in html
    assert "<mark>" not in html
