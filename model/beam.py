"""Beam search: the likeliest whole replies that may follow a state, written side by side as rows of one step.

Greedy decoding takes the likeliest token each time, and what it ends in need not be the likeliest reply, much less the
best one. Here the `width` likeliest beginnings of replies are gone on with at each step. Those that fall behind the
likeliest by more than `margin` are dropped, so a reply that the model is sure of costs no more than greedy decoding.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.batch import Brought, Rows
from model.decode import Slots


@dataclass(frozen=True)
class Beam:
    """A search: how many replies at most, how far behind the likeliest in nats, and of how many tokens at most."""

    width: int
    margin: float
    limit: int


@dataclass(frozen=True)
class Reply:
    """A reply's tokens, of which the last one ends it, and the log-probability of all of them."""

    ids: tuple[int, ...]
    likelihood: float


@torch.no_grad()
def search(
    rows: Rows | Slots, logits: Tensor, beam: Beam, ends: Sequence[int], should_stop: Callable[[], bool]
) -> Generator[Brought, None, list[Reply]]:
    """The likeliest replies, best first, none twice; empty if what is likeliest does not end within the limit, or at
    `should_stop`.

    rows: the one state they follow, with room for `beam.width` rows. logits [vocabulary]: of their first token. ends:
    tokens that end a reply. Yields nothing brought after each step, when the model is free for others.
    """
    living, ended = [Reply((), 0.0)], list[Reply]()
    following = logits[None]
    for left in reversed(range(beam.limit)):
        longer = _longer(living, following, beam.width + len(ends))
        ended += [reply for reply, _ in longer if reply.ids[-1] in ends]
        best = max((reply.likelihood for reply in ended), default=-math.inf)
        going = [each for each in longer if each[0].ids[-1] not in ends][: beam.width]
        likeliest = going[0][0].likelihood
        going = [each for each in going if each[0].likelihood >= max(best, likeliest) - beam.margin]
        if should_stop() or (not left and likeliest > best):
            return []
        if not going or not left:
            break
        living = [reply for reply, _ in going]
        rows.keep([row for _, row in going])
        following = rows.step([reply.ids[-1] for reply in living]).logits
        yield []
    ended.sort(key=lambda reply: -reply.likelihood)
    return [reply for reply in ended if reply.likelihood >= ended[0].likelihood - beam.margin][: beam.width]


def _longer(living: Sequence[Reply], following: Tensor, most: int) -> list[tuple[Reply, int]]:
    """Each of these a token longer, by its likeliest ones, at most so many; with its row's number, likeliest first.
    following [B, vocabulary]: logits."""
    likely, ids = following.log_softmax(-1).topk(min(most, following.shape[-1]))
    longer = [
        (Reply((*reply.ids, id), reply.likelihood + more), row)
        for row, (reply, *each) in enumerate(zip(living, likely.tolist(), ids.tolist(), strict=True))
        for more, id in zip(*each, strict=True)
    ]
    return sorted(longer, key=lambda each: -each[0].likelihood)
