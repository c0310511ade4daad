"""Lines of source code: those that define something, those that call it, and what stands above a line to say where it
belongs."""

import re
from collections.abc import Iterator

from app.extract.document import HEADER
from app.passages import Passage, Places

_DEFINES = re.compile(
    r"^\s*(?:export |pub |public |private |static |async |final )*"
    r"(?:def|class|func|fn|function|struct|enum|trait|interface|module|type|const|let|var) "
)
_NAME = re.compile(r"(?:\([^)]*\) *)?(\w+)")
"""The name behind the word that defines it; Go's methods have their receiver before it."""
_CONSTANT = re.compile(r"([A-Z][A-Z0-9_]+)\s*(?::[^=]+)?=(?!=)")
_CALL = re.compile(r"([\w.]*\w)\s*\(")
_COMMENT = re.compile(r"\s*(#|//|/?\*|--|<!--)")
SHORT = 300
"""Characters of a definition with a call in it that are quoted whole."""


def defines(line: str) -> bool:
    """Whether a line defines something: a function, class, type or constant."""
    return _DEFINES.search(line) is not None


def defined(line: str) -> str:
    """The name that a line defines, be it a constant's; "" where it defines none."""
    found = _DEFINES.match(line)
    name = _NAME.match(line, found.end()) if found else _CONSTANT.match(line)
    return name[1] if name else ""


def called(line: str) -> Iterator[str]:
    """The names that a line calls."""
    if not defines(line):
        yield from _CALL.findall(line)


def lines_with(text: str, names: frozenset[str]) -> Iterator[Passage]:
    """The lines of a text in which one of these names stands as a word, without the blanks around them and without
    those that are comments."""
    last = -1
    for found in re.finditer(rf"\b(?:{'|'.join(map(re.escape, sorted(names)))})\b", text) if names else ():
        if found.start() > last:
            start, last = text.rfind("\n", 0, found.start()) + 1, (text + "\n").find("\n", found.start())
            words = text[start:last]
            if not _COMMENT.match(words):
                yield Passage(start + _indent(words), start + len(words.rstrip()))


def definition_around(places: Places, line: Passage) -> Passage | None:
    """The line that begins the definition in which a line stands: the nearest above, in the same file, that is indented
    less and defines something. None if there is none."""
    text = places.text
    first = next((start for _, start, end in places.files if start <= line.char_start < end), 0)
    start = text.rfind("\n", first, line.char_start) + 1 or first
    indent = _indent(text[start : line.char_start + 1])
    while start > first:
        end = start - 1
        start = text.rfind("\n", first, end) + 1 or first
        above = text[start:end]
        if above.strip() and _indent(above) < indent and defines(above):
            return Passage(start + _indent(above), end)
    return None


def file_header(places: Places, line: Passage) -> str:
    """The header line of the file in which a line stands, as the model reads it; "" where there is only one file."""
    if len(places.files) < 2:
        return ""
    return HEADER.format(places.locate(line.char_start, line.char_end).path).strip()


def _indent(line: str) -> int:
    """How many blanks a line begins with."""
    return len(line) - len(line.lstrip())
