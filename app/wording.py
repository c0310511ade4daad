"""Which wording an answer has, behind the quote that was chosen for it: the likeliest reply, or one nearly as likely.

A reply is the less likely the longer it is, so the likeliest is often a part of the right one: "500" for "500 men". Of
the replies that come near the likeliest the one is given that is likeliest by the token (as in translation: Wu et al.,
2016, arXiv 1609.08144, section 7). Where no other comes near, that costs no more than writing it.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from app.answers import Prepared
from app.home import Home
from model.batch import Brought
from model.beam import Beam, Reply
from model.state import ModelState

TOKENS = 32
"""Of an answer whose wording is chosen, at most: a longer one is written as it comes."""


@dataclass(frozen=True)
class Worded:
    """An answer's tokens, and the state they follow."""

    state: ModelState
    ids: tuple[int, ...]


def has_wordings(home: Home, prepared: Prepared) -> bool:
    """Whether a wording is to be chosen: where the likeliest answer is wanted, behind a quote chosen for the model."""
    return home.aids.wording is not None and prepared.quote is not None and prepared.sampling.temperature == 0


def word_one(
    home: Home, shared: ModelState, begun: ModelState, prepared: Prepared, should_stop: Callable[[], bool]
) -> Worded | None:
    """`word` for one question; None also where no wording is to be chosen."""
    if not has_wordings(home, prepared):
        return None
    steps = word(home, shared, [begun], [prepared], should_stop)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value[0]


def word(
    home: Home, shared: ModelState, begun: Sequence[ModelState], prepared: Sequence[Prepared],
    should_stop: Callable[[], bool],
) -> Generator[Brought, None, list[Worded | None]]:
    """The answers to prepared questions that `has_wordings`; None for one that is longer than `TOKENS`.

    shared: the state that all of them go on from; begun: what each has come to, some of its `ids` further. Yields
    nothing brought after each step, when the model is free for others. At `should_stop` what is left is None. Raises
    ModelError.
    """
    engine, aid = home.engine, home.aids.wording
    assert aid is not None
    rest = [each.ids[state.tokens - shared.tokens :] for each, state in zip(prepared, begun, strict=True)]
    read = yield from engine.read_many(shared, begun, rest, should_stop)
    worded: list[Worded | None] = [None] * len(prepared)
    for n, (state, logits) in enumerate(read):
        beam = Beam(aid.width, aid.margin, min(TOKENS, prepared[n].sampling.max_tokens) + 1)
        replies = yield from engine.replies(shared, state, logits[-1], beam, should_stop)
        if replies:
            worded[n] = Worded(state, best(replies).ids[:-1])
    return worded


def best(replies: Sequence[Reply]) -> Reply:
    """The reply to give of some that are nearly as likely."""
    return max(replies, key=lambda reply: reply.likelihood / len(reply.ids))
