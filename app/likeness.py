"""A quote that is nearly in the text: a letter lost, a word left out, an accent gone."""

import re

from rapidfuzz import fuzz

from app.normal import Normal, normalise
from app.passages import Passage

LIKENESS = 90.0
"""Per cent: 100 (1 - letters put in and left out / letters of both), after normalisation and in small letters."""
AROUND = 400
"""Characters looked at on both sides of a passage: a quote may reach over its end."""

_NUMBERS = re.compile(r"\d+")
_DENIALS = re.compile(r"\b(?:not?|never|none|neither|nor|cannot|without)\b|n't\b|n'\b")


def alike(quote: str, text: str, near: Passage) -> tuple[int, int] | None:
    """The characters of the text near a passage that a quote resembles, as (start, end), or None.

    At least LIKENESS per cent, with exactly the same numbers and the same words of denial: a quote that differs in
    those says something else.
    """
    start, end = max(0, near.char_start - AROUND), min(len(text), near.char_end + AROUND)
    window = Normal(text[start:end])
    wanted = normalise(quote, fold=True)
    found = fuzz.partial_ratio_alignment(wanted, window.folded, score_cutoff=LIKENESS)
    if found is None or len(wanted) > len(window.folded):
        return None
    first, last = _whole_words(window.folded, found.dest_start, found.dest_end)
    said = window.folded[first:last]
    if fuzz.ratio(wanted, said) < LIKENESS or _facts(wanted) != _facts(said):
        return None
    return start + int(window.origin[first]), start + int(window.origin[last - 1]) + 1


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without blanks at its ends, widened to whole words."""
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    while start > 0 and text[start - 1].isalnum() and text[start : start + 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum() and text[end - 1].isalnum():
        end += 1
    return start, end


def _facts(words: str) -> tuple[list[str], list[str]]:
    return _NUMBERS.findall(words), _DENIALS.findall(words)
