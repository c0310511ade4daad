"""Characters that no model or database can hold, and names that would break a line."""

import os
import re
import unicodedata

REPLACEMENT = "\ufffd"

_BREAKING = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff]")
"""Control characters except tab, newline and form feed (old texts part their pages with it), and lone surrogates."""


def newlines(text: str) -> str:
    """The text with every line end written as a single newline."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def clean(text: str) -> tuple[str, int]:
    """The text with one newline per line end and each breaking character replaced, and how many were replaced."""
    return _BREAKING.subn(REPLACEMENT, newlines(text))


def replaced_note(count: int) -> str:
    """The note for `count` characters that `clean` replaced."""
    return f"{count} control character{'s' * (count != 1)} replaced by U+FFFD"


def label(name: str) -> str:
    """A file's name made safe for a header line: undecodable bytes, control and direction characters are replaced."""
    readable = os.fsencode(name).decode("utf-8", "replace")
    unsafe = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
    return "".join(REPLACEMENT if unicodedata.category(c) in unsafe else c for c in readable)
