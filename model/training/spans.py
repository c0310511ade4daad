"""Where in the evidence of a question its answer stands: what the pointer learns from (see `pointer`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from model.training.lessons import place

if TYPE_CHECKING:
    from model.training.tasks import PromptForm, Turn

NONE = -1
"""Stands for the first and last token of an answer that the evidence does not have."""


class Marked(NamedTuple):
    """Places of tokens in a sample: where a question begins; its evidence [first, end); the answer's first and last
    token (NONE: it has none); and the last token before the reply."""

    begin: int
    first: int
    end: int
    start: int
    last: int
    at: int


def mark(turn: Turn, words: str, offsets: list[tuple[int, int]], form: PromptForm) -> tuple[int, int, int, int] | None:
    """First and end token of a turn's evidence and its answer's first and last token, of tokens with these offsets in
    `words` (characters); None where there is no evidence, or the answer stands in it in other words."""
    if not turn.shown:
        return None
    at = words.find(turn.shown)
    first, last = _tokens(offsets, at, at + len(turn.shown))
    if turn.reply == form.not_found:
        return first, last + 1, NONE, NONE
    answer = turn.reply.rsplit("\n", 1)[-1].split(" ", 1)[-1]
    quote = turn.reply.split('"', 1)[-1].rsplit('"\n', 1)[0]
    if quote in turn.shown and answer in quote:
        where = turn.shown.find(quote) + quote.find(answer)
    else:
        where = place(turn.shown, turn.question, answer)
    if where < 0 or not answer:
        return None
    return first, last + 1, *_tokens(offsets, at + where, at + where + len(answer))


def _tokens(offsets: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The first and the last token that hold characters from `start` to `end`."""
    inside: list[Any] = [n for n, (a, b) in enumerate(offsets) if a < end and b > start]
    return inside[0], inside[-1]
