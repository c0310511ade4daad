"""Source code with syntax colours and line numbers, and a stretch of it marked."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_for_filename
from pygments.token import Comment, Keyword, Name, Number, String, _TokenType
from pygments.util import ClassNotFound

from ui.markup import safe

COLOURED = 400_000
"""Characters of a file that are given colours; a longer one is shown plain around the quote."""

AROUND = 30
"""Lines shown before and after a quote."""

_PROSE = {"Text only", "Markdown", "reStructuredText", "HTML", "TeX"}
_CLASSES: tuple[tuple[_TokenType, str], ...] = (
    (Comment, "c"), (Keyword, "k"), (String, "s"), (Number, "m"), (Name.Function, "f"), (Name.Class, "f"),
    (Name.Decorator, "d"), (Name.Builtin, "b"), (Name.Tag, "k"), (Name.Attribute, "f"),
)  # fmt: skip


def lexer_of(path: str) -> Lexer | None:
    """What reads a file of this name; None for prose and for names that say nothing."""
    try:
        lexer = get_lexer_for_filename(path, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
    return None if lexer.name in _PROSE else lexer


def listing(text: str, start: int, end: int, lexer: Lexer, first_line: int = 1) -> str:
    """Lines of a file around text[start:end], which is marked.

    first_line: the number of the text's first line; 0 is a header of ours, and bears no number.
    """
    begins = [0, *(n + 1 for n, sign in enumerate(text) if sign == "\n")]
    first = max(0, bisect_right(begins, start) - 1 - AROUND)
    last = min(len(begins), bisect_right(begins, max(start, end - 1)) + AROUND)
    rows = [""] * (last - first)
    for n, piece, css, marked in _pieces(text, start, end, lexer, begins, first, last):
        shown = f'<span class="or-{css}">{safe(piece)}</span>' if css else safe(piece)
        rows[n - first] += f"<mark>{shown}</mark>" if marked else shown
    lines = (
        f'<tr><td class="or-line" aria-hidden="true">{number or " "}</td><td>{row or " "}</td></tr>'
        for number, row in enumerate(rows, first_line + first)
    )
    return f'<table class="or-code" role="presentation"><tbody>{"".join(lines)}</tbody></table>'


def _pieces(
    text: str, start: int, end: int, lexer: Lexer, begins: list[int], first: int, last: int
) -> Iterator[tuple[int, str, str, bool]]:
    """(line, characters, colour class, whether marked), without line ends, of lines `first` to `last`."""
    stop = begins[last] if last < len(begins) else len(text)
    tokens = lexer.get_tokens_unprocessed(text) if len(text) <= COLOURED else [(0, None, text)]
    for at, kind, value in tokens:
        if at >= stop:
            return
        css = next((name for parent, name in _CLASSES if kind is not None and kind in parent), "")
        if at + len(value) <= begins[first]:
            continue
        n, edge = bisect_right(begins, at) - 1, at + len(value)
        while at < edge:
            line_end = begins[n + 1] if n + 1 < len(begins) else len(text)
            cuts = sorted({at, min(edge, line_end), *(cut for cut in (start, end) if at < cut < min(edge, line_end))})
            if first <= n < last:
                for a, b in pairwise(cuts):
                    if piece := text[a:b].rstrip("\r\n"):
                        yield n, piece, css, start <= a < end
            at, n = cuts[-1], n + 1
