"""HTML as a browser shows it."""

import pytest

from app.extract.parts import Unreadable
from app.extract.web import Page, decode_web, read_web
from tests import pandoc


def shown(source: str) -> str:
    return Page(source).text


def test_a_page_made_by_pandoc() -> None:
    read = read_web(pandoc.make("html"), "a.html")
    [text] = read.pages
    pandoc.assert_in_order([word for word in pandoc.WORDS if "footnote" not in word], text)
    assert "A footnote says so." in text
    assert "10⁶ rivers and H₂O" in text
    assert "Name | Age | City\nAnn | 31 | Bonn\nBob | 4 | Köln\n" in text
    assert read.title == "The Mill"
    assert [(heading.level, heading.title) for heading in read.outline] == [(1, "The Mill"), *pandoc.OUTLINE]
    assert all(text[heading.char_start :].startswith(heading.title) for heading in read.outline)
    assert (read.skipped, read.notes) == ((), ())


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>one\n  two</p><p>three", "one two\n\nthree\n"),
        ("a<br>b<div>c</div>d", "a\nb\nc\nd\n"),
        ("<b>bold</b>ly <i> spaced </i> out", "boldly spaced out\n"),
        ("<pre>a\n   b\n</pre>c", "a\n   b\n\nc\n"),
        ("<ul><li>x<ul><li>y</ul><li><p>z</p></ul>", "- x\n  - y\n- z\n"),
        ("<ol start=3><li>x<li>y</ol>", "3. x\n4. y\n"),
        ("<table><tr><td>a<p>b</p></td><td></td><td>c</td></tr><tr><td>d</td></tr></table>", "a b |  | c\nd\n"),
        ("<table><tr><td><table><tr><td>in<td>ner</table><td>out</table>", "in | ner\n\nout\n"),
        ("10<sup>6</sup> a<sup>th</sup> <q>said</q>", "10⁶ ath “said”\n"),
        ("<script>x</script><style>y</style><noscript>z</noscript>seen", "seen\n"),
        ("&lt;script&gt; &amp;nbsp;&nbsp;x", "<script> &nbsp;\xa0x\n"),
    ],
)
def test_blocks_and_blanks(source: str, text: str) -> None:
    assert shown(f"<body>{source}</body>") == text


def test_what_is_not_shown_is_said() -> None:
    read = read_web(b"<p>a<img src=x><span style='display: none'>secret</span><b hidden>x</b>", "a.html")
    assert read.pages == ("a\n",)
    assert read.notes == ("1 picture not read", "2 hidden elements left out")
    with pytest.raises(Unreadable, match="no text"):
        read_web(b"<html><body><script>everything()</script></body></html>", "a.html")


def test_the_encoding_is_the_declared_one() -> None:
    russian = "<meta charset='windows-1251'>Привет"
    assert decode_web(russian.encode("cp1251")) == (russian, None)
    assert decode_web(b"<meta charset=iso-8859-1>\x93x\x94")[0].endswith("“x”")
    assert decode_web(b"\xef\xbb\xbf<meta charset=latin1>\xc3\xa9")[0].endswith("é")
    text, note = decode_web(b"<meta charset=utf-8>caf\xe9")
    assert text.endswith("café")
    assert note == "not utf-8, which it says it is: read as windows-1252 (guessed)"
    assert decode_web(b"<meta charset=nonsense>plain")[0].endswith("plain")


def test_nesting_deeper_than_any_stack() -> None:
    for tag in ("div", "b", "ul><li", "table><tr><td", "sup", "blockquote"):
        read = read_web(b"<p>top</p>" + f"<{tag}>".encode() * 20_000 + b"bottom", "")
        assert read.pages[0].startswith("top")
        assert read.skipped == ("what is nested in over 2,048 elements, and all after it",)
        assert "bottom" in shown(f"<{tag}>" * 600 + "bottom")


def test_anchors() -> None:
    page = Page("<p>one</p><h2 id=two>Two</h2><a id=three></a>rest", frozenset({"two", "three"}))
    assert {name: page.text[at:].split()[0] for name, at in page.anchors.items()} == {"two": "Two", "three": "rest"}
