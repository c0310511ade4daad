"""Lines of source code: those that define something, those that call it, and what stands above a line to say where it
belongs."""

import re
from collections.abc import Iterator

from app.extract.document import HEADER
from app.passages import Passage, Places

_MODIFIERS = (
    r"(?:(?:export|default|pub(?:\([\w:]+\))?|public|private|protected|internal|static|async|final|abstract|override"
    r"|unsafe|inline|virtual|declare) )*"
)
_FUNCTIONS = r"(?:def|func|fn|function\*?)"
_HOLDERS = r"(?:class|struct|enum|trait|interface|module|impl)"
_DEFINES = re.compile(rf"^\s*{_MODIFIERS}(?:{_FUNCTIONS}|{_HOLDERS}|type|const|let|var) ")
_ENCLOSES = re.compile(
    rf"^\s*{_MODIFIERS}(?:(?:{_FUNCTIONS}|{_HOLDERS}) |(?:const|let|var) .*(?:=>|\bfunction\b|\bfunc\())"
)
_HOLDS = re.compile(rf"^\s*{_MODIFIERS}{_HOLDERS} ")
_KEYWORDS = (
    r"(?:if|for|foreach|while|switch|catch|return|new|else|throw|await|yield|case|match|do|try|with|loop|unless|defer|go"
    r"|until|function|func|fn|def|class)\b"
)
_METHOD = re.compile(
    rf"^\s*(?!{_KEYWORDS}){_MODIFIERS}(?:[\w<>\[\],.*&:?]+ +)*?[*&]*(?!{_KEYWORDS})([A-Za-z_]\w*)\s*"
    r"\([^;()]*\)[^;={}()]*\{\s*$"
)
"""How a function begins in a language that has no word for it: a type or more, its name, its parameters, a brace."""
_NAME = re.compile(r"(?:\([^)]*\) *)?(\w+)")
"""The name behind the word that defines it; Go's methods have their receiver before it."""
_CONSTANT = re.compile(
    rf"\s*{_MODIFIERS}(?:[a-z]\w* )?(_?[A-Z][A-Z0-9_]+)\s*(?::[^=]+)?=(?!=)|\s*#\s*define\s+(\w+)"
)
_CALL = re.compile(r"([\w.]*\w)\s*\(")
_QUOTED = re.compile(r"""\"(?:\\.|[^"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`""")
_BEHIND = re.compile(r"(?:(?<=\s)|^)(?:#(?!\s*define\b)|//).*")
_COMMENT = re.compile(r"\s*(#(?!\s*define\b)|//|/?\*|--|<!--|\"\"\"|\'\'\')")
_NO_HEAD = re.compile(r"\s*([)\]}{@#*]|//|/\*|\"\"\"|\'\'\'|$)")
"""Lines that may be indented less than those below, and do not begin what these stand in."""
SHORT = 300
"""Characters of a definition with a call in it that are quoted whole."""


def defines(line: str) -> bool:
    """Whether a line defines something: a function, class, type or constant."""
    return _DEFINES.search(line) is not None or _METHOD.match(line) is not None


def defined(line: str) -> str:
    """The name that a line defines, be it a constant's; "" where it defines none."""
    place = _defined(line)
    return line[place] if place else ""


def called(line: str) -> Iterator[str]:
    """The names that a line calls."""
    place = _defined(line)
    yield from _CALL.findall(in_code(line[place.stop :] if place else line))


def in_code(line: str) -> str:
    """A line without what it quotes, and without the comment behind it."""
    return _BEHIND.sub("", _QUOTED.sub('""', line))


def lines_with(text: str, names: frozenset[str]) -> Iterator[Passage]:
    """The lines of a text in which one of these names stands as a word, without the blanks around them and without
    those that are comments."""
    last = -1
    for found in re.finditer(rf"\b(?:{'|'.join(map(re.escape, sorted(names)))})\b", text) if names else ():
        if found.start() > last:
            start, end = text.rfind("\n", 0, found.start()) + 1, text.find("\n", found.start())
            last = len(text) if end < 0 else end
            words = text[start:last]
            if not _COMMENT.match(words):
                yield Passage(start + _indent(words), start + len(words.rstrip()))


def definition_around(places: Places, line: Passage) -> Passage | None:
    """The line that begins the function or class in which a line stands: the nearest above, in the same file, that is
    indented less than all between. None if there is none."""
    text = places.text
    first = next((start for _, start, end in places.files if start <= line.char_start < end), 0)
    start = text.rfind("\n", first, line.char_start) + 1 or first
    indent = _indent(text[start : line.char_start + 1])
    while start > first and indent:
        end = start - 1
        start = text.rfind("\n", first, end) + 1 or first
        above = text[start:end]
        if _indent(above) < indent and not _NO_HEAD.match(above):
            if encloses(above):
                return Passage(start + _indent(above), end)
            indent = _indent(above)
    return None


def encloses(line: str) -> bool:
    """Whether a line begins a function, or what functions stand in."""
    return _ENCLOSES.match(line) is not None or _METHOD.match(line) is not None


def holds(line: str) -> bool:
    """Whether a line begins what functions stand in: a class, a module."""
    return _HOLDS.match(line) is not None


def file_header(places: Places, line: Passage) -> str:
    """The header line of the file in which a line stands, as the model reads it; "" where there is only one file."""
    if len(places.files) < 2:
        return ""
    return HEADER.format(places.locate(line.char_start, line.char_end).path).strip()


def _defined(line: str) -> slice | None:
    """Where in a line the name stands that it defines."""
    if found := _DEFINES.match(line):
        found = _NAME.match(line, found.end())
        return slice(*found.span(1)) if found else None
    if found := _METHOD.match(line):
        return slice(*found.span(1))
    found = _CONSTANT.match(line)
    return slice(*found.span(found.lastindex or 0)) if found else None


def _indent(line: str) -> int:
    """How many blanks a line begins with."""
    return len(line) - len(line.lstrip())
