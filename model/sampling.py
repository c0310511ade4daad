"""From logits to the next token."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How to choose tokens. Temperature 0 is greedy; the seed makes any other choice repeatable."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_tokens: int = 256

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf or not 0 < self.top_p <= 1 or self.max_tokens < 1:
            raise ValueError("temperature must be >= 0 and finite, top_p in (0, 1], max_tokens >= 1")


@dataclass(frozen=True)
class Next:
    """What may follow each of B rows: float32 logits [B, vocabulary], until the next step, and the likeliest token."""

    logits: Tensor
    likeliest: list[int]

    @staticmethod
    def of(logits: Tensor) -> "Next":
        """logits [B, vocabulary] and their maxima."""
        return Next(logits, logits.argmax(-1).tolist())


class Sampler:
    """Chooses token after token with one random stream of its own."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._random = torch.Generator().manual_seed(sampling.seed)

    def pick(self, following: Next, row: int) -> int:
        """The token that follows a row."""
        return following.likeliest[row] if self.sampling.temperature == 0 else self.choose(following.logits[row])

    def choose(self, logits: Tensor) -> int:
        """logits [vocabulary] -> a token id. Top-p as in Holtzman et al., 2020 (arXiv 1904.09751)."""
        if self.sampling.temperature == 0:
            return int(logits.argmax())
        wide = logits.double()
        # The largest is moved to 0, so that dividing by a tiny temperature cannot overflow upwards.
        probabilities = torch.softmax((wide - wide.max()) / self.sampling.temperature, -1)
        ordered, ids = probabilities.sort(descending=True)
        # A token stays if the mass before it is below top_p, so the likeliest always stays.
        ordered[ordered.cumsum(-1) - ordered >= self.sampling.top_p] = 0
        return int(ids[int(torch.multinomial(ordered.cpu(), 1, generator=self._random))])
