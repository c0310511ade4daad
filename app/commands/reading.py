"""`onceread read` and `onceread estimate`."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from app import library, reading
from app.commands.outcome import Command, Outcome, Stop
from app.commands.words import duration, size, skipped
from app.home import Home


def register(command: Command) -> None:
    """Add the commands."""
    parser = command("read", read, "read files, folders or zip archives into saved state")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--title", help="what to call the document")
    parser = command("estimate", estimate, "tokens, state size and reading time, without reading")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")


def read(home: Home, options: argparse.Namespace, stop: Stop) -> Outcome:
    """`onceread read`: take the paths in and read them into saved state."""
    document = library.add(home, options.paths, options.title)
    with ReadingBar() as bar:
        result = reading.read(home, document.id, bar, stop)
    text = (
        f"{result.title}  [{result.document}]\n"
        f"{result.tokens_read:,} of {result.tokens:,} tokens read in {result.seconds:.1f} s, "
        f"{result.tokens_reused:,} reused ({result.reason}); state {size(result.state_bytes)}"
    )
    return asdict(result), text + skipped(document), 0


def estimate(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread estimate`: what reading would take."""
    result = library.estimate(home, options.paths)
    pages = f", {result.pages:,} pages" if result.pages else ""
    text = (
        f"{result.title}: {result.tokens:,} tokens{pages}; reading takes about {duration(result.seconds_estimate)}, "
        f"state {size(result.state_bytes)}"
    )
    if result.tokens_reused:
        text += f"; {result.tokens_reused:,} tokens are in saved state already"
    lines = [f"  {skip.path}: {skip.reason}" for skip in result.skipped]
    lines += [f"  {path}: {note}" for path, note in result.notes]
    return asdict(result), "\n".join([text, *lines]), 0


class ReadingBar:
    """A progress bar on stderr that appears when there is something to read."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __enter__(self) -> "ReadingBar":
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: reading.Progress) -> None:
        """Show how far reading is."""
        if self._bar is None:
            self._bar = tqdm(
                total=progress.total, initial=progress.done, unit="tok", unit_scale=True, desc="reading",
                file=sys.stderr, leave=False,
            )
        self._bar.update(progress.done - self._bar.n)
