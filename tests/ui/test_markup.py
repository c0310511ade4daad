"""Escaping and numbers."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.markup import ALLOWED, button, markdown, notice, safe


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
    assert '<p class="or-notice or-error" role="alert"><span>&lt;b&gt;no&lt;/b&gt;.</span>' in notice("<b>no</b>")
    assert 'role="status"' in notice("wait", "busy")
    assert notice("") == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [("the question is empty: type it", "The question is empty: type it."), ("Saved.", "Saved."),
     ("notes.txt: the file is empty", "notes.txt: the file is empty."), ("top-p is a number", "Top-p is a number."),
     ("my own notes.txt: the file is empty", "my own notes.txt: the file is empty.")],
)  # fmt: skip
def test_a_notice_is_a_sentence_and_leaves_names_as_they_are(line: str, said: str) -> None:
    assert Shown(notice(line)).text.startswith(said)


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
