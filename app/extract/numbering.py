"""The numbers that Word draws before the paragraphs of a list: "3.", "2.1", "(b)"."""

from __future__ import annotations

import re
from collections import defaultdict

from lxml import etree

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DEEPEST = 9
_ROMAN = dict(m=1000, cm=900, d=500, cd=400, c=100, xc=90, l=50, xl=40, x=10, ix=9, v=5, iv=4, i=1)  # noqa: C408


class Numbering:
    """Counts the paragraphs of each list of a document."""

    def __init__(self, root: etree._Element | None) -> None:
        """`root` is the tree of word/numbering.xml, if there is one."""
        self._forms: dict[str, list[tuple[str, str, int]]] = {}  # list -> (format, pattern, first number) by depth
        self._abstract: dict[str, str] = {}
        self._counts: dict[str, dict[int, int]] = defaultdict(dict)
        if root is None:
            return
        for definition in root.iter(f"{_W}abstractNum"):
            levels = [_level(each) for each in definition.iter(f"{_W}lvl")][:_DEEPEST]
            self._forms[definition.get(f"{_W}abstractNumId", "")] = levels
        for number in root.iter(f"{_W}num"):
            used = number.find(f"{_W}abstractNumId")
            if used is not None:
                self._abstract[number.get(f"{_W}numId", "")] = used.get(f"{_W}val", "")

    def label(self, number: str, depth: str) -> str:
        """What stands before the next paragraph of the list `number` at `depth`; "" if it is no list."""
        forms = self._forms.get(self._abstract.get(number, ""), [])
        at = int(depth) if depth.isdigit() else 0
        if at >= len(forms):
            return ""
        form, pattern, first = forms[at]
        counts = self._counts[number]
        counts[at] = counts.get(at, first - 1) + 1
        for deeper in [each for each in counts if each > at]:
            del counts[deeper]
        if form == "bullet":
            return "-"

        def counted(match: re.Match[str]) -> str:
            level = int(match[1]) - 1
            if level >= len(forms):
                return ""
            return written(counts.setdefault(level, forms[level][2]), forms[level][0])

        return re.sub(r"%([1-9])", counted, pattern)


def _level(level: etree._Element) -> tuple[str, str, int]:
    def value(child: str, default: str) -> str:
        found = level.find(f"{_W}{child}")
        return found.get(f"{_W}val", default) if found is not None else default

    start = value("start", "1")
    first = int(start) if start.isdecimal() and len(start) < 7 else 1
    return value("numFmt", "decimal"), value("lvlText", "")[:40], first


def written(number: int, form: str) -> str:
    """A number in one of Word's forms; the rare ones are written in digits."""
    if form == "none" or number < 0:
        return ""
    if form.endswith("Letter") and number:
        letter = chr(ord("a") + (number - 1) % 26) * min(1 + (number - 1) // 26, 10)
        return letter.upper() if form.startswith("upper") else letter
    if form.endswith("Roman") and 0 < number < 4000:
        digits = ""
        for sign, value in _ROMAN.items():
            digits += sign * (number // value)
            number %= value
        return digits.upper() if form.startswith("upper") else digits
    return f"{number:02}" if form == "decimalZero" else str(number)
