"""Beam search: the likeliest whole replies that may follow a state, written side by side as rows of one step.

Greedy decoding takes the likeliest token each time, and what it ends in need not be the likeliest reply, much less the
best one. Here the `width` likeliest beginnings of replies are gone on with at each step. Those that fall behind the
likeliest by more than `margin` are dropped, so a reply that the model is sure of costs no more than greedy decoding.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.batch import Rows
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
) -> Generator[None, None, list[Reply]]:
    """The likeliest replies, best first, none twice; empty if none ends within the limit, or at `should_stop`.

    rows: the one state they follow, with room for `beam.width` rows. logits [vocabulary]: of their first token. ends:
    tokens that end a reply. Yields after each step, when the model is free for others.
    """
    living, ended = [Reply((), 0.0)], list[Reply]()
    following = logits[None]
    for step in range(beam.limit):
        likely, ids = following.log_softmax(-1).topk(min(beam.width + len(ends), following.shape[-1]))
        found = [
            (Reply((*living[row].ids, id), living[row].likelihood + more), row)
            for row, (each, some) in enumerate(zip(likely.tolist(), ids.tolist(), strict=True))
            for more, id in zip(each, some, strict=True)
        ]
        ended += [reply for reply, _ in found if reply.ids[-1] in ends]
        least = max(reply.likelihood for reply in (*ended, *(reply for reply, _ in found))) - beam.margin
        open_ones = sorted(
            (each for each in found if each[0].ids[-1] not in ends and each[0].likelihood >= least),
            key=lambda each: -each[0].likelihood,
        )[: beam.width]
        if not open_ones or step + 1 == beam.limit or should_stop():
            break
        rows.keep([row for _, row in open_ones])
        living = [reply for reply, _ in open_ones]
        following = rows.step([reply.ids[-1] for reply in living]).logits
        yield
    if should_stop() or not ended:
        return []
    ended.sort(key=lambda reply: -reply.likelihood)
    return [reply for reply in ended if reply.likelihood >= ended[0].likelihood - beam.margin][: beam.width]
