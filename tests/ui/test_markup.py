"""Escaping and numbers."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.markup import button, count, duration, notice, safe, size


class Shown(HTMLParser):
    """What a browser would make of HTML: its elements, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text())
def test_safe_text_is_shown_as_it_is(text: str) -> None:
    shown = Shown(f"<p>{safe(text)}</p>")
    assert shown.tags == ["p"]
    assert shown.text == text


@given(st.text(), st.text(), st.text())
def test_a_button_is_one_element_whatever_it_is_called(label: str, item: str, confirm: str) -> None:
    shown = Shown(button("open", label, item, confirm=confirm))
    assert shown.tags == ["button"]
    assert shown.text == label


def test_notice_is_escaped_and_an_error_is_announced() -> None:
    assert notice("<b>no</b>") == '<p class="or-notice or-error" role="alert">&lt;b&gt;no&lt;/b&gt;</p>'
    assert 'role="status"' in notice("wait", "busy")
    assert notice("") == ""


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (27_800_000, "27.8 MB"), (999_999, "1.0 MB"), (8.5e9, "8.5 GB")],
)
def test_size(number: float, words: str) -> None:
    assert size(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (0.62, "0.6 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"), (125, "2 min 5 s"),
     (600, "10 min"), (3_599, "60 min"), (3_600, "1 h"), (12_000, "3 h 20 min")],
)  # fmt: skip
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_count() -> None:
    assert (count(1, "page"), count(12_388, "token"), count(0, "page")) == ("1 page", "12,388 tokens", "0 pages")
