"""Words of the evidence that may answer a question, and how likely each is by the reader."""

import math
from dataclasses import dataclass

from app.excerpts import share
from app.passages import Passage

CLOSE = 1.5
"""A span in another sentence that is less likely by at most this (in nats) may answer as well."""


@dataclass(frozen=True)
class Span:
    """Words of the document that may answer, the sentence they stand in, and their log-probability."""

    words: Passage
    sentence: Passage
    likelihood: float


@dataclass(frozen=True)
class Pointed:
    """The likeliest spans that may answer, best first; and the log-probability of no answer."""

    spans: tuple[Span, ...]
    none: float

    @property
    def odds(self) -> float:
        """By how much no answer is likelier than the likeliest span, in nats."""
        return self.none - self.spans[0].likelihood if self.spans else math.inf

    def is_likely(self, bound: float | None) -> bool:
        """Whether the best span has at least this log-probability."""
        return bound is not None and bool(self.spans) and self.spans[0].likelihood >= bound

    def rivals(self, best: Span) -> tuple[Passage, ...]:
        """The sentence of the likeliest span that stands in another one than `best` does, if it is CLOSE."""
        apart = [one for one in self.spans if not share(one.sentence, best.sentence)]
        return tuple(one.sentence for one in apart[:1] if best.likelihood - one.likelihood <= CLOSE)
