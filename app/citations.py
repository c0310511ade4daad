"""What a reply claims, and where in the document its quotes stand.

A quote counts as verified only if its words are in the text: exactly, else as a reader sees them (`app.normal`), else
without regard to capitals, else all but a few letters of them (`app.likeness`). What is shown is then the document's
own characters, never the model's, and how they were found is said.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from app.likeness import alike
from app.normal import Normal, normalise
from app.passages import Passage, Place, Places
from app.prompts import NOT_FOUND

_LABEL = re.compile(
    r"(?:^|(?<=[\"”»])[ \t]+)[ \t>*_#-]*(quotes?|answer)(?:[ \t]*\(?\d+\)?)?[ \t*_]*:[*_]*[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
"""`Quote:` or `Answer:`, at the start of a line or behind a closing quotation mark, in Markdown or numbered or not."""
_CLOSING = {'"': '"”', "“": '”"', "'": "'’", "‘": "’'", "«": "»"}
"""For each opening quotation mark those that may close it."""

MIN_WORDS = 3
MIN_WIDTH = 12
"""A quote below either of these is short. Wide characters (Chinese, Japanese, Korean) are a word and two wide each."""


@dataclass(frozen=True)
class Citation:
    """A quote and where it stands.

    Verified: `quote` is the document's own characters at `place`. Otherwise it is what the model wrote, and `place` is
    None: its words are not in the document, or are so few that they stand in several places and prove nothing.
    match: how it was found, `exact`, `normalised` or `similar`; empty if it was not.
    """

    quote: str
    verified: bool
    place: Place | None
    match: str = ""


@dataclass(frozen=True)
class Reply:
    """What a reply says: its answer, its quotes as the model wrote them, and whether it found an answer at all."""

    answer: str
    quotes: tuple[str, ...]
    found: bool


def parse_reply(reply: str) -> Reply:
    """Read a reply of the form in `app.prompts`, or one that only resembles it.

    Any number of `Quote:` lines in any order, quotation marks of any kind or none, quotes of several lines and with
    quotation marks inside, and a reply cut off anywhere are accepted. Without an `Answer:` line, what is no quote is
    the answer. A reply that says `NOT_FOUND` quotes nothing and has found nothing; neither has an empty one.
    """
    said: dict[str, list[str]] = {"quote": [], "answer": [], "": []}
    for label, content in _sections(reply.strip()):
        if content:
            said[label].append(content)
    answer = "\n".join(said["answer"] or said[""])
    if _declines(answer):
        return Reply(max(answer, NOT_FOUND, key=len), (), False)  # whole, if it was cut off
    return Reply(answer, tuple(said["quote"]), bool(answer or said["quote"]))


def parse_so_far(raw: str) -> Reply:
    """`parse_reply` of a reply still being written, less a last line that may become `Quote:` or `Answer:`."""
    rest, _, last = raw.rpartition("\n")
    return parse_reply(rest if any(label.startswith(last.strip()) for label in ("Quote:", "Answer:")) else raw)


def _sections(reply: str) -> Iterator[tuple[str, str]]:
    """The reply as (label, content) in order; the label is `quote`, `answer`, or empty for words under neither."""
    label, at = "", 0
    while True:
        if label == "quote":
            content, at = _quote(reply, at)
            yield label, content
            label = ""
        following = _LABEL.search(reply, at)
        yield label, reply[at : following.start() if following else None].strip()
        if following is None:
            return
        label, at = ("quote" if _is_quote(following) else "answer"), following.end()


def _quote(reply: str, at: int) -> tuple[str, int]:
    """The quote that begins at `at`, without its quotation marks, and where the words behind it begin.

    It ends at a closing mark that ends a line (a remark in brackets may follow) or stands before a label: the last such
    before the next label, for the quote may hold marks of its own; with no label to come, the first.
    """
    at = _skip_blanks(reply, at)
    following = _LABEL.search(reply, at)
    stop = following.start() if following else len(reply)
    closing = _CLOSING.get(reply[at : at + 1])
    if closing is None:
        line = reply.find("\n", at)
        end = stop if following or line < 0 else line
        return reply[at:end].strip(), end
    line_end = r"[.,;]?[ \t]*(?:\([^()\n]*\)[.,;]?)?[ \t]*$"
    mark = re.compile(rf"[{closing}](?:{line_end}|(?={_LABEL.pattern}))", _LABEL.flags)
    marks = list(mark.finditer(reply, at + 1))
    before = [found for found in marks if found.start() < stop]
    if before:
        last = before[-1] if following else before[0]
    else:  # the document's own words may hold "Answer:": a mark before a later label still closes the quote
        limit = next((label.start() for label in _LABEL.finditer(reply, stop) if _is_quote(label)), len(reply))
        closed = [found for found in marks if found.start() < limit]
        behind = [found for found in closed if _LABEL.match(reply, _skip_blanks(reply, found.end()))]
        if not behind:
            return reply[at + 1 : stop].strip(), stop
        last = behind[0]
    return reply[at + 1 : last.start()].strip(), last.end()


def _is_quote(label: re.Match[str]) -> bool:
    """Whether a label found by `_LABEL` opens a quote (else an answer)."""
    return label[1].lower().startswith("quote")


def _skip_blanks(reply: str, at: int) -> int:
    """The start of the next line that is not blank."""
    return at + len(reply[at:]) - len(reply[at:].lstrip())


def _declines(answer: str) -> bool:
    """Whether an answer is the fixed sentence for "not in the document", perhaps cut off, perhaps with more behind."""
    words = " ".join(answer.split()).strip("\"“”'*_ ").casefold()
    sentence = NOT_FOUND.rstrip(".").casefold()
    if words.startswith(sentence):
        return words[len(sentence) :][:1] in ("", ".", "!", ",", ";", ":")
    return len(words) > len(sentence) * 3 // 4 and sentence.startswith(words)


Near = Callable[[str], Iterable[Passage]]
"""The passages in which the words of a quote most likely stand."""


def cite(quotes: Iterable[str], text: str, places: Places, near: Near = lambda _: ()) -> list[Citation]:
    """Look up each quote in the text, in order. `places` must be of the same text.

    near: where to look for words that resemble a quote which does not stand in the text as it is.
    """
    return [_cite(quote, text, places, near) for quote in quotes]


def at(passage: Passage, places: Places) -> Citation:
    """A citation of a stretch that is known to stand in the text."""
    return Citation(places.words(passage), True, places.locate(passage.char_start, passage.char_end), "exact")


def _cite(quote: str, text: str, places: Places, near: Near) -> Citation:
    span = locate(quote, text)
    match = "exact" if span and text[slice(*span)] == quote.strip() else "normalised"
    if span is None and not is_short(quote):
        spans = (alike(quote, text, passage) for passage in near(quote))
        span, match = next((found for found in spans if found), None), "similar"
    if span is None:
        return Citation(quote, False, None)
    start, end = span
    return Citation(text[start:end], True, places.locate(start, end), match)


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """The characters of the text that a quote repeats, as (start, end), or None.

    A quote may stand in several places; the first whose ends are no middle of a word is taken, else the first. A short
    quote must be whole words, with their capitals, in one single place.
    """
    quote = quote.strip()
    if not any(character.isalnum() for character in quote):
        return None
    if is_short(quote):
        return _only(_exact(quote, text), text) or _only(_normal(text).spans(normalise(quote)), text)
    return (
        _best(_exact(quote, text), text)
        or _best(_normal(text).spans(normalise(quote)), text)
        or _best(_normal(text).spans(normalise(quote, fold=True), fold=True), text)
    )


def is_short(quote: str) -> bool:
    """Whether a quote has so few words that finding them somewhere says little."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in quote)
    words = wide + sum(any(c.isalnum() and ord(c) < 0x2E80 for c in word) for word in quote.split())
    return words < MIN_WORDS or len(quote) + wide < MIN_WIDTH


def _exact(quote: str, text: str) -> Iterator[tuple[int, int]]:
    start = text.find(quote)
    while start >= 0:
        yield start, start + len(quote)
        start = text.find(quote, start + 1)


def _best(spans: Iterator[tuple[int, int]], text: str) -> tuple[int, int] | None:
    """The first span of whole words among the first hundred, else the first."""
    found = list(islice(spans, 100))
    return next((span for span in found if _whole_words(text, *span)), found[0] if found else None)


def _only(spans: Iterator[tuple[int, int]], text: str) -> tuple[int, int] | None:
    """The one span of whole words, or None if there is no such or a second one."""
    found = list(islice((span for span in spans if _whole_words(text, *span)), 2))
    return found[0] if len(found) == 1 else None


def _whole_words(text: str, start: int, end: int) -> bool:
    """Whether neither end of a span cuts a word (or a number) in two."""
    return not is_inside_word(text, start) and not is_inside_word(text, end)


def is_inside_word(text: str, at: int) -> bool:
    """Whether a word (or a number) goes on from before a place in a text to behind it."""
    pair = text[max(0, at - 1) : at + 1]
    return 0 < at < len(text) and all(c.isalnum() and unicodedata.east_asian_width(c) not in "WF" for c in pair)


@lru_cache(maxsize=2)
def _normal(text: str) -> Normal:
    """The normalised form of a document, kept for the next question about it."""
    return Normal(text)
