"""Which sentence a reply quotes, or that it refuses: the model's word and the words' own fit together.

A small model finds the words that hold an answer badly by itself, and words alone cannot tell what is meant. So the
candidates are those sentences of the evidence that fit the question's words best (`choosing`), and of these the one is
quoted for which fit and the model's log-probability together are largest. Whether anything is quoted at all the model
decides: by how much more it would rather begin its reply with the not-found sentence. A quote that hardly leads the
next candidate is wrong much more often than others (RESULTS.md), so those behind it are offered beside it.

Where there is a reader beside the model it looks first. Where no answer is much likelier to it, that is the answer;
words that are likely enough are, and their sentence the quote (`pointing`); then the model need not read the question
at all. Otherwise the model writes the answer, and may not refuse where that was the reader's to say. Where the file or
the function is asked for that a line of code is in, the quote says it by its place; and without the model where lines
have the very name that is asked about (`whereabouts`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import torch

from app import pointing, prompts
from app.answers import Prepared, places_of
from app.choosing import Asked
from app.evidence import is_open
from app.home import Home
from app.pointing import pointed
from app.spans import Pointed
from app.whereabouts import LISTED, quoted
from model.state import ModelState

RIVALS = 2
"""Sentences offered beside a quote that was a close choice."""


def decide(home: Home, state: ModelState, prepared: Prepared) -> tuple[ModelState, Prepared, int]:
    """Settle how the reply to a prepared question begins, if the model has a say in it, once the reader has looked.

    Returns the state that has read the question and how its reply begins in any case, what is now prepared, and how
    many of its `ids` that state has read; of a reply that is whole and begins otherwise, as a refusal does, the given
    state and 0. Raises ModelError.
    """
    if not has_a_say(home, prepared):
        return state, prepared, 0
    ids = ids_to_decide(home, prepared)
    begun, (asked, shared) = home.engine.logits_at(state, ids, [prepared.asked, len(ids)])
    prepared = begin(home, asked, prepared)
    if prepared.whole:
        return state, prepared, 0
    (chosen,) = choose(home, state, [Begun(begun, shared, prepared)])
    return begun, chosen, len(ids)


def has_a_say(home: Home, prepared: Prepared) -> bool:
    """Whether the model is to choose between candidates, or to refuse."""
    return home.aids.fit is not None and bool(prepared.candidates)


def look(home: Home, prepared: Prepared) -> Prepared:
    """What is prepared once the reader, where there is one, has looked: refused where it has a say in that and no
    answer is much likelier, and where it has none in a question foreign to the document; and answered where some words
    are likely enough. Then the model need not read the question, nor where the form of lines says the answer."""
    if prepared.lines:
        return _located(home, prepared)
    found = pointed(home, prepared) if has_a_say(home, prepared) else None
    bound = _none(home, prepared, found)
    prepared = replace(prepared, looked=bound is not None)
    if bound is None and prepared.foreign:
        return _refused(replace(prepared, insists=False), asked=0)
    if found is None:
        return prepared
    if bound is not None and found.odds > bound:
        prepared = _refused(prepared, asked=0)
    if not prepared.whole and found.is_likely(home.aids.point):
        return replace(pointing.answered(home, prepared, found), asked=0)
    return prepared


def _none(home: Home, prepared: Prepared, found: Pointed | None) -> float | None:
    """From which odds of no answer the reader refuses; None where the model has the say: without words that may
    answer, and without a bound of its own for questions that words seldom answer. Of a question that is foreign to the
    document it is as strict behind a long one as behind a short one."""
    if found is None or not found.spans:
        return None
    if prepared.foreign:
        return home.aids.none
    if is_open(prepared.question):
        return home.aids.none_open
    return home.aids.none_behind(len(places_of(home, prepared.document).text))


def _located(home: Home, prepared: Prepared) -> Prepared:
    """A question that lines of code answer by where they stand: all of them, `LISTED` at most, are cited."""
    asked = Asked.of(prepared.looked_up)
    quote, words = quoted(places_of(home, prepared.document), prepared.lines[0][0], asked)
    names = [name for _, name in prepared.lines]
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    prepared = replace(prepared, opening=prompts.opening(words), quote=quote)
    return replace(_placed(home, prepared, ", ".join(names[:LISTED] + more)), asked=0)


def begin(home: Home, logits: torch.Tensor, prepared: Prepared) -> Prepared:
    """What is prepared once the model has read the question: refused if it would rather do that than quote, by more
    than it may, and the reader has no say in that. logits [vocabulary]: of what follows the question."""
    refusal, quote = (home.engine.tokenizer.encode(words)[0] for words in (prompts.NOT_FOUND, prompts.QUOTE_PREFIX))
    bound = home.aids.refuse_behind(len(places_of(home, prepared.document).text))
    if bound is None or prepared.looked or float(logits[refusal] - logits[quote]) <= bound:
        return prepared
    return _refused(prepared, prepared.asked)


def _refused(prepared: Prepared, asked: int) -> Prepared:
    """The refusal; where somebody insists the question as it was, doubted. asked: how many ids the model has read."""
    if prepared.insists:
        return replace(prepared, doubted=True)
    ids = prepared.ids[: prepared.asked]
    return replace(prepared, opening=prompts.NOT_FOUND, whole=True, quote=None, ids=ids, asked=asked)


@dataclass(frozen=True)
class Begun:
    """A question that was read with what all its candidates' openings begin with: the state then, and the logits
    [vocabulary] of what follows."""

    state: ModelState
    logits: torch.Tensor
    prepared: Prepared


def ids_to_decide(home: Home, prepared: Prepared) -> tuple[int, ...]:
    """What is read before anything is decided: the question, and what the openings of all candidates begin with. Read
    together they are one pass through the model instead of two."""
    openings = _openings(home, prepared)
    return (*prepared.ids[: prepared.asked], *openings[0][: told_apart(openings)[0]])


def choose(home: Home, shared: ModelState, begun: Sequence[Begun]) -> list[Prepared]:
    """Each question with the candidate that is quoted. shared: the state that all of them went on from."""
    openings = [_openings(home, each.prepared) for each in begun]
    beginnings = [told_apart(each)[1] for each in openings]
    states, logits = [each.state for each in begun], [each.logits for each in begun]
    likely = home.engine.likelihoods(shared, states, logits, beginnings)
    together = zip(begun, openings, likely, strict=True)
    return [_chosen(home, one.prepared, ids, totals) for one, ids, totals in together]


def _chosen(home: Home, prepared: Prepared, openings: Sequence[Sequence[int]], likely: Sequence[float]) -> Prepared:
    """The candidate whose fit and log-probability together are largest; if it hardly leads, with those behind it."""
    fits = [(home.aids.fit or 0.0) * candidate.fit for candidate in prepared.candidates]
    totals = [fit + logs for fit, logs in zip(fits, likely, strict=True)]
    best, *others = sorted(range(len(totals)), key=lambda n: -totals[n])
    sure = home.aids.sure is None or not others or totals[best] - totals[others[0]] >= home.aids.sure
    rivals = () if sure else tuple(prepared.candidates[n].sentence for n in others[:RIVALS])
    chosen = prepared.candidates[best]
    ids = (*prepared.ids[: prepared.asked], *openings[best])
    prepared = replace(prepared, opening=chosen.opening, quote=chosen.sentence, rivals=rivals, ids=ids)
    return _placed(home, prepared, chosen.answer) if chosen.answer else prepared


def _placed(home: Home, prepared: Prepared, answer: str) -> Prepared:
    """A question whose quote is chosen, and whose answer is where that stands: nothing is left to be written."""
    opening = f"{prepared.opening} {answer}"
    ids = (*prepared.ids[: prepared.asked], *home.engine.tokenizer.encode(opening))
    return replace(prepared, opening=opening, whole=True, pointed=answer, ids=ids)


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
