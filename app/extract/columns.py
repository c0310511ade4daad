"""Two columns of print, where a page draws them line by line across: read one after the other.

Most programs draw a column to its end and then the next, and their order is kept. A page is put into order only if it
jumps to and fro between two columns whose lines are filled, as prose is and the cells of a table are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_FEWEST_LINES = 6
"""In each column."""
_FEWEST_JUMPS = 6
_FILLED = 0.7
"""How much of a column's width a line fills that is not the last of its paragraph; and how many lines must."""
_MOST_ACROSS = 0.2
"""The share of pieces that may reach over the gap: titles, figures."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a line and its box on the page, y upwards."""

    left: float
    bottom: float
    right: float
    top: float
    text: str


def in_columns(pieces: Sequence[Piece]) -> str | None:
    """The text with its columns one after the other, or None if the page's own order is right.

    `pieces` are in the page's order.
    """
    pieces = [piece for piece in pieces if piece.text.strip() and piece.right > piece.left]
    if len(pieces) < 2 * _FEWEST_LINES or (gap := _gap(pieces)) is None:
        return None
    sides = [_side(piece, gap) for piece in pieces]
    beside = [side for side in sides if side]
    if sum(one != next_one for one, next_one in pairwise(beside)) < _FEWEST_JUMPS:
        return None
    columns = [[piece for piece, of in zip(pieces, sides, strict=True) if of == side] for side in (-1, 1)]
    if not all(_is_prose(_lines(column)) for column in columns):
        return None
    ordered: list[str] = []
    across = [piece for piece, side in zip(pieces, sides, strict=True) if not side]
    across.sort(key=lambda piece: -piece.top)
    above = max(piece.top for piece in pieces) + 1
    for bound in [*across, None]:
        below = bound.bottom if bound else min(piece.bottom for piece in pieces) - 1
        for column in columns:
            ordered += [_said(line) for line in _lines([p for p in column if below <= p.bottom < above])]
        if bound:
            ordered.append(bound.text.strip())
        above = below
    return "\n".join(ordered)


Box = tuple[float, float, float, float]
"""Left, bottom, right and top of a stretch of text."""


def may_have_columns(boxes: Sequence[Box]) -> bool:
    """Whether the page's order jumps over a gap within a line often enough to be looked at closely."""
    jumps = 0
    for (_, bottom, right, top), (left, next_bottom, _, _) in pairwise(boxes):
        height = top - bottom
        jumps += left - right > height and -height < 2 * (bottom - next_bottom) < height
    return jumps >= _FEWEST_JUMPS


def merged(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces with those joined that follow each other on a line, such as the words of a justified one."""
    joined: list[Piece] = []
    for piece in pieces:
        before = joined[-1] if joined else None
        height = piece.top - piece.bottom
        if before and abs(before.bottom - piece.bottom) < height / 2 and -height < piece.left - before.right < height:
            text = before.text + " " * (piece.left - before.right > 0.15 * height) + piece.text
            joined[-1] = Piece(before.left, before.bottom, piece.right, before.top, text)
        else:
            joined.append(piece)
    return joined


def _gap(pieces: Sequence[Piece]) -> float | None:
    """Where the gap between two columns is, if few pieces reach over it and both sides have their lines."""
    left, right = min(piece.left for piece in pieces), max(piece.right for piece in pieces)
    tried = [left + (right - left) * share / 40 for share in range(14, 27)]
    middle = (left + right) / 2
    crossing, _, at = min((sum(p.left < x < p.right for p in pieces), abs(x - middle), x) for x in tried)
    sides = [_side(piece, at) for piece in pieces]
    enough = min(sides.count(-1), sides.count(1)) >= _FEWEST_LINES
    return at if enough and crossing <= _MOST_ACROSS * len(pieces) else None


def _side(piece: Piece, gap: float) -> int:
    """-1 left of the gap, 1 right of it, 0 across."""
    return -1 if piece.right <= gap else 1 if piece.left >= gap else 0


def _lines(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces as lines from top to bottom, each from left to right."""
    lines: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: -piece.bottom):
        height = piece.top - piece.bottom
        if lines and abs(lines[-1][0].bottom - piece.bottom) < height / 2:
            lines[-1].append(piece)
        else:
            lines.append([piece])
    return [sorted(line, key=lambda piece: piece.left) for line in lines]


def _is_prose(lines: Sequence[Sequence[Piece]]) -> bool:
    """Whether most lines fill their column."""
    width = max(line[-1].right for line in lines) - min(line[0].left for line in lines)
    filled = sum(line[-1].right - line[0].left >= _FILLED * width for line in lines)
    return len(lines) >= _FEWEST_LINES and filled >= _FILLED * len(lines)


def _said(line: Sequence[Piece]) -> str:
    """A line's text, with a blank where its pieces stand apart."""
    said = line[0].text.strip()
    for before, piece in pairwise(line):
        apart = piece.left - before.right > 0.15 * (piece.top - piece.bottom)
        said += " " * (apart or before.text[-1:] == " " or piece.text[:1] == " ") + piece.text.strip()
    return said
