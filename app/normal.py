"""A text as a reader sees it rather than as it was typeset, with a map back to every character.

What counts as the same: any run of blanks and line ends; any kind of quotation mark; any kind of dash, and none where a
word is broken at a line's end or hyphenated; a ligature and its letters; composed and decomposed accents; invisible
characters and nothing. `Normal` keeps the map, so that what is found here is answered in the text's own characters.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

_SPACE, _DASH, _QUOTE = ord(" "), ord("-"), ord("'")
_QUOTES = "\"'`´‘’‚‛“”„‟′″«»‹›＂＇"
_DASHES = "-‐‑‒–—―−﹘﹣－\u00ad"
"""The last is the soft hyphen, shown only where it breaks a word."""
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_NOTHING = 0
"""Stands for an invisible character until it is dropped; a real NUL is dropped with them."""

Codes = NDArray[np.uint32]
Flags = NDArray[np.bool_]


class Normal:
    """The normalised form of one text.

    `plain` is that form; `origin[i]` is the index in the text of the character that `plain[i]` came from.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        codes, origin = _normalise(text)
        self.origin = origin.astype(np.int32)
        self.plain = _string(codes)
        self._folded: str | None = None

    @property
    def folded(self) -> str:
        """`plain` in small letters, character for character; made when first asked for."""
        if self._folded is None:
            self._folded = _string(_small()[_codes(self.plain)])
        return self._folded

    def spans(self, needle: str, fold: bool = False) -> Iterator[tuple[int, int]]:
        """Where the normalised `needle` stands, as (start, end) in the text's own characters, from left to right.

        A match that begins or ends inside one character (an accent, half a ligature) is none.
        """
        where = self.folded if fold else self.plain
        found = where.find(needle) if needle else -1
        while found >= 0:
            end = found + len(needle)
            if self._whole(found) and self._whole(end):
                yield int(self.origin[found]), int(self.origin[end - 1]) + 1
            found = where.find(needle, found + 1)

    def _whole(self, cut: int) -> bool:
        """Whether a cut before `plain[cut]` falls between two characters as a reader sees them."""
        if cut in (0, len(self.plain)):
            return True
        return self.origin[cut] != self.origin[cut - 1] and not unicodedata.combining(self.plain[cut])


def normalise(text: str, fold: bool = False) -> str:
    """The normalised form alone, without blanks at its ends; with `fold`, in small letters."""
    codes, _ = _normalise(text)
    return _string(_small()[codes] if fold else codes).strip()


def _normalise(text: str) -> tuple[Codes, NDArray[np.int64]]:
    """The normalised codes of a text, and for each the index of the character it came from."""
    codes = _codes(text)
    origin = np.arange(len(codes))
    if not text.isascii():
        codes, origin = _expand(codes, origin)
    codes = _same()[codes]
    keep = codes != _NOTHING
    if not keep.all():
        codes, origin = codes[keep], origin[keep]
    keep = _join_gaps(codes)
    return codes[keep], origin[keep]


def _expand(codes: Codes, origin: NDArray[np.int64]) -> tuple[Codes, NDArray[np.int64]]:
    """Ligatures and accented letters replaced by the letters and accents they are made of."""
    lengths, starts, flat = _expansions()
    counts = lengths[codes]
    several = np.flatnonzero(counts > 1)
    if not len(several):
        return codes, origin
    ends = np.cumsum(counts, dtype=np.int64)
    expanded, origin = np.repeat(codes, counts), np.repeat(origin, counts)
    first, of = (ends - counts)[several], codes[several]
    for n in range(int(counts.max())):
        more = counts[several] > n
        expanded[first[more] + n] = flat[starts[of[more]] + n]
    return expanded, origin


def _join_gaps(codes: Codes) -> Flags:
    """Which codes stay when each run of blanks and dashes becomes one code or none; writes that code in place.

    A run of blanks becomes a space. A run with a dash becomes a dash, or nothing between two letters: a broken word
    and a hyphenated one cannot be told apart at a line's end.
    """
    gap = (codes == _SPACE) | (codes == _DASH)
    edges = np.flatnonzero(np.diff(gap, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    dashes = np.cumsum(codes == _DASH, dtype=np.int32)
    has_dash = dashes[ends - 1] - dashes[starts] + (codes[starts] == _DASH) > 0
    inside = (starts > 0) & (ends < len(codes))
    letter = _letters()
    broken = np.zeros(len(starts), bool)
    broken[inside] = letter[codes[starts[inside] - 1]] & letter[codes[ends[inside]]]
    keep = ~gap
    keep[starts[~(has_dash & broken)]] = True
    codes[starts] = np.where(has_dash, _DASH, _SPACE)
    return keep


def _codes(text: str) -> Codes:
    """A text's code points."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8).astype(np.uint32)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _string(codes: Codes) -> str:
    """Code points as a text."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _same() -> Codes:
    """For each code point the one that stands for all it is taken to equal."""
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for code in range(0x3001):
        if chr(code).isspace():
            table[code] = _SPACE
    for characters, code in ((_QUOTES, _QUOTE), (_DASHES, _DASH), (_INVISIBLE, _NOTHING)):
        table[[ord(c) for c in characters]] = code
    return table


@cache
def _expansions() -> tuple[NDArray[np.uint8], NDArray[np.int32], Codes]:
    """For each code point the number of codes it is made of and where they begin in the third array."""
    lengths = np.ones(sys.maxunicode + 1, np.uint8)
    starts = np.zeros(sys.maxunicode + 1, np.int32)
    flat: list[int] = []
    for code in (*range(0xA0, 0x3100), *range(0xFB00, 0xFB07)):  # not Hangul: a syllable is one character to everyone
        made_of = _made_of(chr(code))
        if len(made_of) > 1:
            lengths[code], starts[code] = len(made_of), len(flat)
            flat += map(ord, made_of)
    return lengths, starts, np.array(flat, np.uint32)


def _made_of(character: str) -> str:
    """The letters of a ligature, the points of an ellipsis, or a letter and its accents."""
    ligature = "ﬀ" <= character <= "ﬆ" or character in "ĳĲŉǆǉǌ…"
    return unicodedata.normalize("NFKD" if ligature else "NFD", character)


@cache
def _small() -> Codes:
    """For each code point its small letter, where that is a single one."""
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for code in range(0x1F000):
        small = chr(code).lower()
        if len(small) == 1:
            table[code] = ord(small)
    return table


@cache
def _letters() -> Flags:
    """For each code point whether it is a letter or an accent upon one."""
    table = np.zeros(sys.maxunicode + 1, bool)
    for code in range(0x1F000):
        table[code] = chr(code).isalpha() or bool(unicodedata.combining(chr(code)))
    return table
