"""Plain text, Markdown, source code and anything else that is text: bytes to characters, never losing one."""

import codecs
from collections.abc import Callable
from pathlib import PurePosixPath

from charset_normalizer import CharsetMatch, from_bytes

from app.extract.clean import clean, replaced_note
from app.extract.headings import book_headings, markdown_headings, rst_headings
from app.extract.parts import TEXT_LIMIT, FileText, Heading, Reader, Unreadable

HEAD = 8_192
"""Bytes looked at to tell text from binary data."""

_LANGUAGES = (
    "ada adb ads asm awk bas bash bat c cbl cc clj cljs cls cmake cob cpp cr cs csh cu cuh cxx d dart el elm erl ex "
    "exs f f90 f95 fish for fs fsx go gradle groovy h hh hpp hrl hs hxx java jl kt kts lhs lisp lua m mjs ml mli mm "
    "nim nix pas php phtml pl pm proto ps1 psm1 pxd py pyi pyx r rb rkt rs s scala scm sh sol sql sv swift tcl tf "
    "thrift ts tsx v vb vhd vhdl vim wat zig zsh"
)
_MARKUP = (
    "cjs css graphql htm html ini js json jsonl jsx less sass scss svelte svg tex toml vue xhtml xml xsd xsl yaml yml"
)
_ENDINGS = {
    "markdown": {".md", ".markdown", ".mdown", ".mkd", ".mdx"},
    "rst": {".rst", ".rest"},
    "table": {".csv", ".tsv"},
    "code": {f".{ending}" for ending in f"{_LANGUAGES} {_MARKUP}".split()},
}
PROGRAMS = {f".{ending}" for ending in _LANGUAGES.split()}
"""Endings of source code that is no part of a saved web page or of some settings."""
_OUTLINES: dict[str, Callable[[str], tuple[Heading, ...]]] = {
    "markdown": markdown_headings,
    "rst": rst_headings,
    "text": book_headings,
}

_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GUESS_SAMPLE = 1_000_000
_TOO_FEW = 8
"""Bytes beyond ASCII from which no encoding can be told, among more that are ASCII."""
_NEVER_GUESSED = ["utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "utf_7"]
"""Without a mark these are taken for any short text of an even length."""


def read_text(data: bytes, path: str) -> FileText:
    """The text of a file's bytes; `path` tells the kind. Raises `Unreadable` for no characters or no text."""
    if not data:
        raise Unreadable("the file is empty")
    decoded, guess = decode(data)
    text, replaced = clean(decoded)
    if not text.strip():
        raise Unreadable("the file has no text in it, only blanks")
    notes = [guess] if guess else []
    if replaced:
        notes.append(replaced_note(replaced))
    kind = text_kind(path)
    outline = _OUTLINES[kind](text) if kind in _OUTLINES else ()
    title = outline[0].title if kind == "markdown" and outline else None
    return FileText(kind, (text,), title=title, outline=outline, notes=tuple(notes))


def text_kind(path: str) -> str:
    """`markdown`, `rst`, `table`, `code` or `text`, by the name's ending."""
    suffix = PurePosixPath(path).suffix.lower()
    return next((kind for kind, endings in _ENDINGS.items() if suffix in endings), "text")


def decode(data: bytes) -> tuple[str, str | None]:
    """The characters and, unless the bytes say or prove their encoding, a note of the guess.

    A byte order mark decides, then strict UTF-8, then charset-normalizer's best guess, then windows-1252.
    Raises `Unreadable` for binary data.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding), None
            except UnicodeDecodeError:
                return data.decode(encoding, "replace"), f"damaged {encoding}: what it could not say is U+FFFD"
    if b"\0" in data[:HEAD]:
        raise Unreadable("it is no text (a binary file)")
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        return _guess(data)


def _guess(data: bytes) -> tuple[str, str]:
    """The characters of bytes that are not UTF-8, and a note that names the guess."""
    head = data[:HEAD]
    if sum(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head) > len(head) / 50:
        raise Unreadable("it is no text (a binary file)")
    encoding = _likeliest(data[:_GUESS_SAMPLE])
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        encoding = "cp1252"
        text = data.decode(encoding, "replace")
    name = encoding.replace("cp125", "windows-125")
    return text, f"read as {name} (guessed)"


def _likeliest(sample: bytes) -> str:
    """charset-normalizer's best guess, but windows-1252, by far the commonest, wins a tie and a short text."""
    beyond_ascii = sum(byte > 127 for byte in sample)
    if beyond_ascii < _TOO_FEW and beyond_ascii * 2 < len(sample):
        return "cp1252"
    matches = list(from_bytes(sample, cp_exclusion=_NEVER_GUESSED))
    if not matches:
        return "cp1252"
    best: CharsetMatch = matches[0]
    tied = (m for m in matches if m.chaos <= best.chaos and m.coherence >= best.coherence)
    if any("cp1252" in (m.encoding, *m.could_be_from_charset) for m in tied):
        return "cp1252"
    return best.encoding


READER = Reader("text", frozenset(), read_text, sandboxed=False, limit=TEXT_LIMIT)
"""Reads whatever no other reader is for."""
