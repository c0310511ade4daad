"""Which wording an answer has, behind the quote that was chosen for it: the likeliest reply, or one nearly as likely.

A small model's likeliest words are often too few, or what it would say to any question. So of the replies that come
near the likeliest the one is given whose log-probability is largest once some of what it has without the question is
taken away (as Li et al., 2016, arXiv 1510.03055, do against empty phrases), for its length (Wu et al., 2016, arXiv
1609.08144, section 7). Where no other reply comes near, that is the likeliest one, and nothing more is computed.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from app.aids import Wording
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
    engine, aid = home.engine, home.aids.wording or Wording()
    rest = [each.ids[state.tokens - shared.tokens :] for each, state in zip(prepared, begun, strict=True)]
    read = yield from engine.read_many(shared, begun, rest, should_stop)
    found: list[list[Reply]] = []
    for (state, logits), each in zip(read, prepared, strict=False):
        beam = Beam(aid.width, aid.margin, min(TOKENS, each.sampling.max_tokens) + 1)
        found.append((yield from engine.replies(shared, state, logits[-1], beam, should_stop)))
    several = [n for n, replies in enumerate(found) if len(replies) > 1]
    unasked = [(*prepared[n].unasked, *prepared[n].ids[prepared[n].asked :]) for n in several]
    bare = yield from engine.read_many(shared, [shared] * len(several), unasked, should_stop)
    if len(bare) == len(several):
        without = engine.likelihoods(
            shared, [state for state, _ in bare], [logits[-1] for _, logits in bare],
            [[reply.ids for reply in found[n]] for n in several],
        )
        for n, likely in zip(several, without, strict=True):
            found[n] = [best(found[n], likely, aid)]
    worded = [Worded(s, r[0].ids[:-1]) if len(r) == 1 else None for (s, _), r in zip(read, found, strict=True)]
    return worded + [None] * (len(prepared) - len(read))


def best(replies: Sequence[Reply], without: Sequence[float], aid: Wording) -> Reply:
    """The reply to give. without: the log-probability of each where nothing is asked."""
    scores = [
        (reply.likelihood - aid.unasked * bare) / len(reply.ids) ** aid.length
        for reply, bare in zip(replies, without, strict=True)
    ]
    return replies[max(range(len(replies)), key=lambda n: scores[n])]
