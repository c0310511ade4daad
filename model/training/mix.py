"""Several sources in one phase, each with its share of the steps, in an order that depends on nothing but the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Part = dict[str, Any]


class Mix:
    """Parts of a phase. `share` (default 1) is how often a part's turn comes, relative to the others."""

    def __init__(self, parts: list[Part], source: Callable[[Part], Any]) -> None:
        self.parts = parts
        self.sources = [source(part) for part in parts]
        self.shares = [float(part.get("share", 1.0)) for part in parts]
        self.taken: list[int] = [0] * len(parts)
        self.step = 0

    def at(self, step: int) -> tuple[Part, Any, int]:
        """The part whose turn step `step` is, its source, and how many turns it has had. Steps come in order; the
        first may be any, as when a run goes on from its checkpoint."""
        if step < self.step:
            self.taken, self.step = [0] * len(self.parts), 0
        while True:
            due = min(range(len(self.parts)), key=lambda n: (self.taken[n] + 1) / self.shares[n])
            if self.step == step:
                return self.parts[due], self.sources[due], self.taken[due]
            self.taken[due] += 1
            self.step += 1
