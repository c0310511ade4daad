"""The model of the settings, with a progress bar on stderr where loading its weights takes time."""

import sys

from tqdm import tqdm

from app.settings import Settings
from model.engine import Engine

LARGE = 2_000_000_000
"""Bytes that take more than a moment to load."""


def open_engine(settings: Settings) -> Engine:
    """Open it; its weights are loaded when they are first needed. Raises ModelError."""
    return Engine.open(settings.model, settings.device, form=settings.weights, watch=LoadingBar)


class LoadingBar:
    """A progress bar on stderr for a large checkpoint."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __enter__(self) -> "LoadingBar":
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, done: int, total: int) -> None:
        """Show how much of the checkpoint is loaded."""
        if self._bar is None and total >= LARGE:
            self._bar = tqdm(total=total, unit="B", unit_scale=True, desc="loading", file=sys.stderr, leave=False)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
