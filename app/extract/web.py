"""HTML, with lxml: what a browser would show, as text; and the headings."""

from __future__ import annotations

import re

from lxml import etree

from app.extract.clean import clean, replaced_note
from app.extract.flow import SMALL, Flow
from app.extract.numbering import written
from app.extract.parts import FileText, Heading, Reader, Unreadable
from app.extract.text import decode

_UNSEEN = {
    *("script", "style", "template", "head", "noscript", "svg", "object", "iframe", "canvas", "select", "annotation"),
}
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog", "div", "dl", "dt"),
    *("fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "li", "main"),
    *("nav", "section", "summary", "tr", "caption"),
}
_APART = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "pre", "hr", "blockquote", "figure"}
"""Blocks with a blank line around them."""
_PICTURES = {"img", "picture", "video", "audio", "svg", "canvas", "object", "iframe", "image"}
_DECLARED = re.compile(
    rb"""<\?xml[^>]{0,200}encoding=["']([\w.:-]{1,40})|<meta[^>]{0,400}charset=["']?([\w.:-]{1,40})""", re.I
)
_FORMS = {
    **{"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"},
    **{"lower-alpha": "lowerLetter", "upper-alpha": "upperLetter"},
    **{"lower-roman": "lowerRoman", "upper-roman": "upperRoman"},
}
_LAYOUT = "onceread-layout"


def read_web(data: bytes, _path: str) -> FileText:
    """The text of a page. Raises `Unreadable` if there is none."""
    text, guess = decode_web(data)
    page = Page(text)
    if not page.text.strip():
        raise Unreadable((*page.skipped, "the page has no text in it (is it made by a script?)")[0])
    shown, replaced = clean(page.text)
    notes = [guess] if guess else []
    notes += [replaced_note(replaced)] if replaced else []
    notes += page.notes
    return FileText("html", (shown,), False, page.title, page.outline, (), page.skipped, tuple(notes))


def decode_web(data: bytes) -> tuple[str, str | None]:
    """The characters of a page, by the encoding it declares unless a mark says otherwise, and a note of a guess."""
    found = _DECLARED.search(data[:2_048])
    if found and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        name = (found[1] or found[2]).decode("ascii")
        name = "cp1252" if name.lower() in ("iso-8859-1", "latin1", "us-ascii", "ascii") else name  # as browsers do
        try:
            return data.decode(name), None
        except (UnicodeDecodeError, LookupError):
            text, guess = decode(data)
            return text, f"not {name}, which it says it is{f': {guess}' if guess else ''}"
    return decode(data)


class Page:
    """What a page shows: `text`, `title`, `outline`, and in `anchors` where each of `wanted` ids begins; what it does
    not, in `skipped` and `notes`.
    """

    def __init__(self, source: str, wanted: frozenset[str] = frozenset()) -> None:
        parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
        try:
            root = etree.fromstring(clean(source)[0].encode("utf-8"), parser)
        except etree.XMLSyntaxError:
            root = None
        self._flow = Flow()
        self._wanted = wanted
        self.anchors: dict[str, int] = {}
        self._pictures = self._hidden = 0
        self._lists: list[tuple[str, int] | None] = []  # of those around: the form and next number, None for bullets
        self._script: list[int] = []
        self._tables: list[bool] = []
        self._row = 0  # cells of the row so far
        self._heading: int | None = None
        self.title = None
        if root is not None:
            title = " ".join((root.findtext(".//head/title") or "").split())
            self.title = title or None
            _find_layout(root)
            self._walk(root)
        self.text = self._flow.text()
        self.outline: tuple[Heading, ...] = tuple(self._flow.headings)
        too_deep = any("Excessive depth" in error.message for error in parser.error_log)
        self.skipped = ("what is nested in over 2,048 elements, and all after it",) if too_deep else ()
        counted = ((self._pictures, "picture", "not read"), (self._hidden, "hidden element", "left out"))
        self.notes = tuple(f"{n} {what}{'s' * (n > 1)} {fate}" for n, what, fate in counted if n)

    def _walk(self, root: etree._Element) -> None:
        """Go through the tree without recursion: a hostile page is nested deeper than any stack."""
        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            tag = element.tag if isinstance(element.tag, str) else ""
            if event == "start":
                self._pictures += tag in _PICTURES
                if tag in _UNSEEN or _is_hidden(element):
                    self._hidden += tag not in _UNSEEN and element.get("role") != "doc-backlink"
                    walk.skip_subtree()
                    continue
                self._open(element, tag)
                self._flow.write(element.text or "")
            else:
                if tag not in _UNSEEN and not _is_hidden(element):
                    self._close(element, tag)
                self._flow.write(element.tail or "")

    def _open(self, element: etree._Element, tag: str) -> None:
        if tag in _BLOCKS or tag in _APART:
            self._flow.block(2 if tag in _APART and not self._lists else 1)
        for name in (element.get("id"), element.get("name")):
            if name in self._wanted:
                self.anchors.setdefault(name, self._flow.mark())
        if tag == "br":
            self._flow.newline()
        elif _script_of(element, tag):
            self._script.append(self._flow.pieces())
        elif tag == "q":
            self._flow.write("“")
        elif tag == "pre":
            self._flow.verbatim += 1
        elif tag in ("ul", "ol"):
            self._lists.append((_form(element), _number(element.get("start"))) if tag == "ol" else None)
        elif tag == "li":
            self._flow.lead("  " * max(0, len(self._lists) - 1) + self._bullet())
        elif tag == "table":
            self._tables.append(_LAYOUT not in element.attrib)
        elif tag == "tr":
            self._row = 0
        elif tag in ("td", "th"):
            if self._tables and self._tables[-1]:
                if self._row:
                    self._flow.lead(" | ")
                self._flow.cells += 1
            else:
                self._flow.block(1)
            self._row += 1
        elif re.fullmatch("h[1-6]", tag):
            self._flow.open_heading(int(tag[1]))

    def _close(self, element: etree._Element, tag: str) -> None:
        if re.fullmatch("h[1-6]", tag):
            self._flow.close_heading()
        elif (script := _script_of(element, tag)) and self._script:
            self._flow.restyle(self._script.pop(), SMALL[script])
        elif tag == "q":
            self._flow.write("”")
        elif tag == "pre":
            self._flow.trim()
            self._flow.verbatim -= 1
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif tag in ("td", "th") and self._tables and self._tables[-1]:
            self._flow.cells -= 1
        elif tag == "table":
            self._tables.pop()
        if tag in _BLOCKS or tag in _APART:
            self._flow.block(2 if tag in _APART and not self._lists else 1)

    def _bullet(self) -> str:
        if not self._lists or (numbered := self._lists[-1]) is None:
            return "- "
        form, number = numbered
        self._lists[-1] = (form, number + 1)
        return f"{written(number, form)}. "


def _script_of(element: etree._Element, tag: str) -> str | None:
    """"sup" or "sub" for what stands raised or lowered, in text or in a formula."""
    if tag in ("sup", "sub"):
        return tag
    around = element.getparent()
    formula = {"msup": "sup", "msub": "sub"}.get(str(around.tag)) if around is not None else None
    return formula if element.getprevious() is not None else None


def _form(numbered: etree._Element) -> str:
    """The form of a list's numbers."""
    style = re.search(r"list-style-type:\s*([\w-]+)", numbered.get("style") or "")
    return _FORMS.get(numbered.get("type") or (style[1] if style else ""), "decimal")


def _number(start: str | None) -> int:
    """The number that a numbered list begins with."""
    return int(start) if start and re.fullmatch(r"-?\d{1,6}", start) else 1


def _is_hidden(element: etree._Element) -> bool:
    style = element.get("style") or ""
    if element.get("role") == "doc-backlink":  # the arrow back from a note
        return True
    return element.get("hidden") is not None or bool(re.search(r"display\s*:\s*none|visibility\s*:\s*hidden", style))


def _find_layout(root: etree._Element) -> None:
    """Mark the tables that hold another table: they are there for the page's layout, and have no rows to be read."""
    around: list[etree._Element] = []
    for event, table in etree.iterwalk(root, events=("start", "end"), tag="table"):
        if event == "end":
            around.pop()
            continue
        if around:
            around[-1].set(_LAYOUT, "")
        around.append(table)


_BEGINS = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,200}(?:<\?xml[^>]{0,200}>\s{0,200})?<(?:!doctype html|html)\b", re.I)

READER = Reader(
    "html", frozenset({".html", ".htm", ".xhtml", ".xht"}), read_web, lambda head: bool(_BEGINS.match(head))
)
