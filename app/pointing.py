"""Which words of the evidence answer a question, as the reader says, and where they stand in the document.

The reader scores each token of the evidence to begin and to end the answer, and no answer (`model.reader`). How
likely a span is is the product of both; its words are the document's own. Where the best is likely enough (`point`) it
is the answer, and nothing has to be written. Elsewhere the model writes.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from app import prompts
from app.answers import Prepared, places_of
from app.citations import is_inside_word
from app.evidence import GAP, laid_out, shown
from app.excerpts import share
from app.home import Home
from app.passages import Passage, Places
from app.sentences import sentences
from app.source import file_header
from app.spans import Pointed, Span

LONGEST = 24
"""Tokens of a span at most."""
LOOKED_AT = 64
"""The likeliest pairs of tokens that are looked at; many are the same words with another blank or comma."""
_CLOSED = re.compile(r"(?:[\s,;:]|[.!?](?!\w))+")
"""What may stand behind words, before others: a full stop (but not that of `.5`), a comma, blanks."""


@dataclass(frozen=True)
class _Token:
    """Where a token of the evidence stands in the document, and in which of the stretches that are shown, each in one
    file."""

    stretch: Passage
    start: int
    end: int


def pointed(home: Home, prepared: Prepared) -> Pointed | None:
    """What the reader says of a question; nothing if words may not answer, or there is no reader."""
    if not _may_answer(home, prepared) or home.reader is None:  # it is loaded where it is first asked for
        return None
    places = places_of(home, prepared.document)
    found = home.reader.read(prepared.looked_up, shown(places, prepared.evidence))
    stretches = _stretches(places, prepared.evidence)
    return _pointed(home, prepared, found.values, [_token(stretches, *each) for each in found.offsets])


def _may_answer(home: Home, prepared: Prepared) -> bool:
    return home.aids.point is not None and prepared.points and bool(prepared.evidence)


def _pointed(home: Home, prepared: Prepared, scores: torch.Tensor, tokens: Sequence[_Token | None]) -> Pointed | None:
    """The likeliest spans by the scores of the evidence's tokens, and of no answer behind them [T + 1, 2]."""
    places, logs = places_of(home, prepared.document), scores.cpu().log_softmax(0)
    first, last = logs[:-1].unbind(-1)
    short = torch.ones(len(first), len(first), dtype=torch.bool).triu().tril(LONGEST - 1)
    totals = (first[:, None] + last).masked_fill(~short, -math.inf)
    return Pointed(_likeliest(places, prepared, totals, tokens), float(logs[-1].sum()))


def _likeliest(
    places: Places, prepared: Prepared, totals: torch.Tensor, tokens: Sequence[_Token | None]
) -> tuple[Span, ...]:
    """The likeliest spans, best first. totals [T, T]: the log-probability of each first and last token; -inf where
    there is no span."""
    likely, best = totals.flatten().topk(min(LOOKED_AT, int(totals.isfinite().sum())))
    spans: dict[Passage, Span] = {}
    lines = {token.stretch: _lines(places, token.stretch) for token in tokens if token}
    for total, pair in zip(likely.tolist(), best.tolist(), strict=True):
        start, end = tokens[pair // len(tokens)], tokens[pair % len(tokens)]
        if start and end and start.stretch == end.stretch:
            words = _whole_words(places.text, start.start, end.end, start.stretch)
            sentence = _holding(words, [one.sentence for one in prepared.candidates], lines[start.stretch])
            words = _unclosed(places.text, words, sentence)
            if sentence and any(map(str.isalnum, places.words(words))):
                spans.setdefault(words, Span(words, sentence, total))
    return tuple(spans.values())


def answered(home: Home, prepared: Prepared, found: Pointed) -> Prepared:
    """A question whose answer is the best span that is pointed to: nothing is left to be written."""
    places, best = places_of(home, prepared.document), found.spans[0]
    sentence, answer = (" ".join(places.words(words).split()) for words in (best.sentence, best.words))
    opening = prompts.reply(sentence, answer)
    return replace(
        prepared, opening=opening, whole=True, pointed=answer, quote=best.sentence,
        rivals=() if home.aids.sure is None else found.rivals(best),
        ids=(*prepared.ids[: prepared.asked], *home.engine.tokenizer.encode(opening)),
    )


def _stretches(places: Places, evidence: Sequence[Passage]) -> list[tuple[int, Passage]]:
    """The stretches that are shown, each in one file, and where each begins in what is shown."""
    stretches: list[tuple[int, Passage]] = []
    at = 0
    for header, passage in laid_out(places, evidence):
        at += len(header)
        stretches += [(at + part.char_start - passage.char_start, part) for part in _by_file(places, passage)]
        at += passage.length + len(GAP)
    return stretches


def _by_file(places: Places, passage: Passage) -> list[Passage]:
    """The part of a passage in each file that it goes through."""
    cut = (Passage(max(start, passage.char_start), min(end, passage.char_end)) for _, start, end in places.files)
    return [part for part in cut if part.length > 0]


def _token(stretches: Iterable[tuple[int, Passage]], start: int, end: int) -> _Token | None:
    """Where characters of the words that are read stand in the document; None between stretches and in a header."""
    for at, passage in stretches:
        begin, stop = max(start - at, 0), min(end - at, passage.length)
        if begin < stop:
            return _Token(passage, passage.char_start + begin, passage.char_start + stop)
    return None


def _lines(places: Places, stretch: Passage) -> list[Passage]:
    """The sentences of a stretch of a file, without the file's header line."""
    header = file_header(places, stretch)
    cut = sentences(places.text, stretch.char_start, stretch.char_end)
    return [line for line in cut if places.words(line) != header]


def _whole_words(text: str, start: int, end: int, stretch: Passage) -> Passage:
    """A span without blanks at its ends or what closes the words before, and with the whole of the words it cuts."""
    words = text[start:end]
    end = start + len(words.rstrip())
    if before := _CLOSED.match(words):
        start += before.end()
    while stretch.char_start < start < end and is_inside_word(text, start):
        start -= 1
    while start < end < stretch.char_end and is_inside_word(text, end):
        end += 1
    return Passage(start, max(start, end))


def _holding(words: Passage, candidates: Sequence[Passage], lines: Sequence[Passage]) -> Passage | None:
    """The sentence that holds a span: a candidate, or else a line; where it runs on into others, all of them. None
    where it is, or begins, in none."""
    touched = [line for line in lines if share(line, words)]
    if not touched or touched[0].char_start > words.char_start or touched[-1].char_end < words.char_end:
        return None
    for one in candidates:
        if one.char_start <= words.char_start and words.char_end <= one.char_end:
            return one
    return Passage(touched[0].char_start, touched[-1].char_end)


def _unclosed(text: str, words: Passage, sentence: Passage | None) -> Passage:
    """A span without a comma, or the full stop of its sentence, behind it; one of an abbreviation (`U.S.`) stays."""
    said = text[words.char_start : words.char_end]
    bare = said.rstrip(", \n")
    closes = sentence is not None and not any(map(str.isalnum, text[words.char_end : sentence.char_end]))
    if bare.endswith(".") and closes and "." not in bare.split()[-1][:-1]:
        bare = bare[:-1]
    return Passage(words.char_start, words.char_start + len(bare.rstrip()))
