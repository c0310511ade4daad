"""Which sentence a reply quotes, or that it refuses: the model's word and the words' own fit together.

A small model finds the words that hold an answer badly by itself, and words alone cannot tell what is meant. So the
candidates are those sentences of the evidence that fit the question's words best (`choosing`), and of these the one is
quoted for which fit and the model's log-probability together are largest. Whether anything is quoted at all the model
decides: by how much more it would rather begin its reply with the not-found sentence.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

import torch

from app import prompts
from app.answers import Prepared
from app.home import Home
from model.state import ModelState


def decide(home: Home, state: ModelState, prepared: Prepared) -> tuple[ModelState, Prepared, int]:
    """Settle how the reply to a prepared question begins, if the model has a say in it.

    Returns the state that has read the question (as far as that was needed), what is now prepared, and how many of its
    `ids` that state has read. Raises ModelError.
    """
    if not has_a_say(home, prepared):
        return state, prepared, 0
    after, logits = home.engine.next_logits(state, prepared.ids[: prepared.asked])
    prepared = begin(home, logits, prepared)
    if prepared.whole:
        return after, prepared, prepared.asked
    return after, choose(home, *home.engine.next_logits(after, shared_ids(home, prepared)), prepared), prepared.asked


def has_a_say(home: Home, prepared: Prepared) -> bool:
    """Whether the model is to choose between candidates, or to refuse."""
    return home.aids.fit is not None and bool(prepared.candidates)


def begin(home: Home, logits: torch.Tensor, prepared: Prepared) -> Prepared:
    """What is prepared once the question has been read: refused if the model would rather do that than quote, or
    doubted where somebody insists. logits [vocabulary]: of what follows the question."""
    refusal, quote = (home.engine.tokenizer.encode(words)[0] for words in (prompts.NOT_FOUND, prompts.QUOTE_PREFIX))
    bound = home.aids.refuse
    if bound is None or float(logits[refusal] - logits[quote]) <= bound:
        return prepared
    if prepared.insists:
        return replace(prepared, doubted=True)
    asked = prepared.ids[: prepared.asked]
    return replace(prepared, opening=prompts.NOT_FOUND, whole=True, quote=None, ids=asked)


def shared_ids(home: Home, prepared: Prepared) -> Sequence[int]:
    """The tokens that the openings of all candidates begin with: to be read before one is chosen."""
    openings = _openings(home, prepared)
    return openings[0][: told_apart(openings)[0]]


def choose(home: Home, begun: ModelState, logits: torch.Tensor, prepared: Prepared) -> Prepared:
    """The candidate that is quoted: `begun` is the state after the `shared_ids`, logits [vocabulary] what follows."""
    openings = _openings(home, prepared)
    likely = home.engine.likelihoods(begun, logits, told_apart(openings)[1])
    fits = [(home.aids.fit or 0.0) * candidate.fit for candidate in prepared.candidates]
    best = max(range(len(openings)), key=lambda n: fits[n] + likely[n])
    chosen = prepared.candidates[best]
    ids = (*prepared.ids[: prepared.asked], *openings[best])
    return replace(prepared, opening=chosen.opening, quote=chosen.sentence, ids=ids)


def _openings(home: Home, prepared: Prepared) -> list[list[int]]:
    return [home.engine.tokenizer.encode(candidate.opening) for candidate in prepared.candidates]


def told_apart(openings: Sequence[Sequence[int]]) -> tuple[int, list[Sequence[int]]]:
    """How many tokens all openings begin with, and of each what follows as far as it tells it from all others: what
    comes behind is a copy, which the model is sure of."""
    lengths = []
    for n, ids in enumerate(openings):
        others = [_common(ids, other) for m, other in enumerate(openings) if m != n]
        lengths.append((min(others, default=len(ids) - 1), max(others, default=0)))
    shared = min(min(least for least, _ in lengths), min(map(len, openings)) - 1)
    return shared, [ids[shared : max(most, shared) + 1] for ids, (_, most) in zip(openings, lengths, strict=True)]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
