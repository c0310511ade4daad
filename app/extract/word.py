"""DOCX: paragraphs, lists with their numbers, tables, notes; headings by their styles."""

from __future__ import annotations

import re

from lxml import etree

from app.extract.clean import clean, replaced_note
from app.extract.flow import SMALL, Flow
from app.extract.numbering import Numbering
from app.extract.packed import Package, local
from app.extract.parts import FileText, Reader, Unreadable

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes", "commentReference": "comments"}
_UNSEEN = frozenset(
    "del moveFrom delText instrText delInstrText Fallback pPr sectPr tblPr tcPr trPr".split()  # noqa: SIM905
)
"""Deleted text, field codes, second forms of the same drawing, and formatting."""
_RAISED = {"superscript": "sup", "subscript": "sub"}
_PICTURES = {"drawing", "pict", "object"}
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "‑", "softHyphen": "\u00ad", "ptab": "\t"}


def read_word(data: bytes, _path: str) -> FileText:
    """The text of a Word document. Raises `Unreadable` if it is broken, locked, or holds no text."""
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable("it is locked by a password, or of Word's old format: save a copy as .docx without one")
    package = Package(data)
    document = _Document(package)
    text, replaced = clean(document.flow.text())
    if not text.strip():
        raise Unreadable("the document has no text in it" + (" (only pictures?)" if document.pictures else ""))
    notes = [replaced_note(replaced)] if replaced else []
    if n := document.deleted:
        notes.append(f"{n} deleted passage{'s' * (n > 1)} (tracked changes) left out")
    n = document.pictures
    skipped = [*document.damaged, *([f"{n} picture{'s' * (n > 1)} not read"] if n else [])]
    headings = tuple(document.flow.headings)
    return FileText("docx", (text,), False, document.title, headings, (), tuple(skipped), tuple(notes))


class _Document:
    """One document, written into `flow`."""

    def __init__(self, package: Package) -> None:
        self.flow = Flow()
        self.pictures = self.deleted = 0
        self.damaged: list[str] = []
        self.title: str | None = None
        self._package = package
        self._numbering = Numbering(self._part("numbering"))
        self._levels, self._titles, lists = _styles(self._part("styles"))
        self._list_of_style = lists
        self._cited: dict[str, list[str]] = {}
        self._row = 0
        self._script: list[tuple[str | None, int]] = []  # of the runs around: raised or not, and the first piece
        self._write(package.tree("word/document.xml"))
        for part, ids in self._cited.items():
            self._write_notes(part, ids)

    def _part(self, name: str) -> etree._Element | None:
        """One of the parts beside the text, if there is one; the text is read without a damaged one."""
        member = f"word/{name}.xml"
        try:
            return _plain_names(self._package.tree(member)) if member in self._package.names else None
        except Unreadable as reason:
            self.damaged.append(str(reason))
            return None

    def _write(self, root: etree._Element) -> None:
        """Go through a part without recursion."""
        walk = etree.iterwalk(_plain_names(root), events=("start", "end"))
        for event, element in walk:
            name = local(element)
            if event == "end":
                self._close(element, name)
            elif name in _UNSEEN:
                self.deleted += name in ("del", "moveFrom") and any(local(each) == "delText" for each in element.iter())
                walk.skip_subtree()
            else:
                self._open(element, name)

    def _open(self, element: etree._Element, name: str) -> None:
        if name == "t":
            self.flow.write(element.text or "", keep=True)
        elif name in _SIGNS and element.getparent() is not None and local(element.getparent()) == "r":
            self.flow.write(" " if self.flow.cells and name != "tab" else _SIGNS[name], keep=True)
        elif name in ("r", *SMALL):
            raised = name if name in SMALL else _RAISED.get(_value(element.find(f"{_W}rPr"), "vertAlign"))
            self._script.append((raised, self.flow.pieces()))
        elif name == "p":
            self._open_paragraph(element)
        elif name == "tbl":
            self.flow.block(2)
        elif name == "tr":
            self.flow.block(1)
            self._row = 0
        elif name == "tc":
            if self._row:
                self.flow.lead(" | ")
            self._row += 1
            self.flow.cells += 1
        elif name in _NOTES:
            ids = self._cited.setdefault(_NOTES[name], [])
            ids.append(element.get(f"{_W}id", ""))
            if name != "commentReference":
                self.flow.write(f"[{len(ids)}]", keep=True)
        self.pictures += name in _PICTURES and element.find(f".//{_W}txbxContent") is None

    def _close(self, element: etree._Element, name: str) -> None:
        if name in ("r", *SMALL):
            script, first = self._script.pop()
            if script:
                self.flow.restyle(first, SMALL[script])
        elif name == "p":
            self.flow.close_heading()
            self.flow.block(1)
        elif name == "tc":
            self.flow.cells -= 1
        elif name == "tbl":
            self.flow.block(2)

    def _open_paragraph(self, paragraph: etree._Element) -> None:
        properties = paragraph.find(f"{_W}pPr")
        style = _value(properties, "pStyle")
        listed = properties.find(f"{_W}numPr") if properties is not None else None
        number, depth = _value(listed, "numId"), _value(listed, "ilvl") or "0"
        if listed is None and style in self._list_of_style:
            number, depth = self._list_of_style[style]
        label = self._numbering.label(number, depth) if number else ""
        self.flow.block(1 if label and not self._level(properties, style) else 2)
        if style in self._titles and self.title is None:
            self.title = " ".join("".join(each.text or "" for each in paragraph.iter(f"{_W}t")).split()) or None
        if level := self._level(properties, style):
            self.flow.open_heading(level)
        if label:
            self.flow.lead(f"{'  ' * min(int(depth), 9)}{label} ")

    def _level(self, properties: etree._Element | None, style: str) -> int | None:
        outline = _value(properties, "outlineLvl")
        return int(outline) + 1 if outline.isdigit() and int(outline) < 9 else self._levels.get(style)

    def _write_notes(self, part: str, ids: list[str]) -> None:
        """The foot and end notes and comments that the text cites, after it."""
        tree = self._part(part)
        notes = {each.get(f"{_W}id"): each for each in tree} if tree is not None else {}
        for number, id in enumerate(ids, 1):
            if (note := notes.get(id)) is not None:
                self.flow.block(2)
                self.flow.lead(f"[{'comment ' * (part == 'comments')}{number}] ")
                self._write(note)


def _plain_names(root: etree._Element) -> etree._Element:
    """The tree with the names of the strict form of the format, if it is one, replaced by the common ones."""
    if root.nsmap.get("w") == _STRICT:
        for element in root.iter("{*}*"):
            element.tag = element.tag.replace(_STRICT, _W[1:-1])
            for name, value in list(element.attrib.items()):
                element.set(str(name).replace(_STRICT, _W[1:-1]), value)
    return root


def _styles(root: etree._Element | None) -> tuple[dict[str, int], set[str], dict[str, tuple[str, str]]]:
    """The styles of headings with their levels, those of titles, and those that are lists (number, depth)."""
    levels: dict[str, int] = {}
    titles: set[str] = set()
    lists: dict[str, tuple[str, str]] = {}
    for style in root.iter(f"{_W}style") if root is not None else ():
        id, properties = style.get(f"{_W}styleId", ""), style.find(f"{_W}pPr")
        name = _value(style, "name").lower()
        outline = _value(properties, "outlineLvl")
        if heading := re.fullmatch(r"heading ([1-9])", name):
            levels[id] = int(heading[1])
        elif outline.isdigit() and int(outline) < 9:
            levels[id] = int(outline) + 1
        elif name == "title":
            titles.add(id)
        listed = properties.find(f"{_W}numPr") if properties is not None else None
        if number := _value(listed, "numId"):
            lists[id] = (number, _value(listed, "ilvl") or str(max(0, levels.get(id, 1) - 1)))
    return levels, titles, lists


def _value(element: etree._Element | None, child: str) -> str:
    """The value of a child, or ""."""
    found = element.find(f"{_W}{child}") if element is not None else None
    return found.get(f"{_W}val", "") if found is not None else ""


READER = Reader("docx", frozenset({".docx", ".docm", ".dotx"}), read_word)
