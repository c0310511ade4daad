"""Escaping and numbers."""

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.markup import ALLOWED, ago, button, count, duration, markdown, notice, safe, size


class Shown(HTMLParser):
    """What a browser would make of HTML: its elements, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[list[str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append([name for name, _ in attrs])

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text())
def test_safe_text_is_shown_as_it_is(text: str) -> None:
    shown = Shown(f"<p>{safe(text)}</p>")
    assert shown.tags == ["p"]
    assert shown.text == text


@given(st.text(), st.text(), st.text())
def test_a_button_is_one_element_whatever_it_is_called(label: str, item: str, words: str) -> None:
    shown = Shown(button("open", label, item, ask={"title": words}, hint=words))
    assert shown.tags == ["button"]
    assert shown.text == label


def test_notice_is_escaped_and_an_error_is_announced() -> None:
    assert '<p class="or-notice or-error" role="alert"><span>&lt;b&gt;no&lt;/b&gt;</span>' in notice("<b>no</b>")
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


HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "![a](http://evil.example/x.png)", "<!--",
    "[a](javascript:alert(1))", "<http://evil.example>", "http://evil.example", "<svg/onload=alert(1)>",
    "`</code><script>`", "| a |\n|---|\n| <b onclick=x> |", '<div style="background:url(http://evil.example)">',
    "[a]: http://evil.example\n[a]", "&lt;script&gt;", "<a\nhref=x>",
]  # fmt: skip


@given(st.lists(st.sampled_from([*HOSTILE, "*a*", "\n", "- x", "words", "1. y", "```"]), max_size=12))
def test_markdown_can_neither_run_nor_load_nor_lead_anywhere(parts: list[str]) -> None:
    html = markdown("\n".join(parts))
    shown = Shown(html)
    assert set(shown.tags) <= ALLOWED
    assert not [a for tag in shown.attributes for a in tag if a != "start"]


def test_markdown_is_shown_as_meant() -> None:
    assert markdown("It is **so**:\n\n- one\n- two").startswith("<p>It is <strong>so</strong>:</p>\n<ul>\n<li>one</li>")
    assert Shown(markdown("a < b && c > d")).text.strip() == "a < b && c > d"
    assert Shown(markdown("if x_1 <b> y")).text.strip() == "if x_1 <b> y"


def test_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    passed = [(0, "just now"), (-5, "just now"), (300, "5 min ago"), (7200, "2 h ago"), (3 * 86400, "3 days ago")]
    assert [ago(1e9 - seconds) for seconds, _ in passed] == [words for _, words in passed]
    assert ago(1e9 - 86400 * 100).endswith("2001")
