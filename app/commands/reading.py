"""`onceread read` and `onceread estimate`."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from app import library, reading, room
from app.commands.outcome import Command, Outcome, Stop
from app.coverage import in_words
from app.errors import OncereadError, ReadingStopped, ScannedSource
from app.home import Home
from app.words import duration, size

_OCR: dict[str, Any] = {
    "nargs": "?", "const": "eng", "metavar": "LANGUAGE",
    "help": "read scanned pages of PDFs with tesseract (default: eng)",
}


def register(command: Command) -> None:
    """Add the commands."""
    parser = command("read", read, "read files, folders, repositories or archives into saved state")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--title", help="what to call the document")
    parser.add_argument("--ocr", **_OCR)
    parser = command("estimate", estimate, "tokens, state size and reading time, without reading")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--ocr", **_OCR)


def read(home: Home, options: argparse.Namespace, stop: Stop) -> Outcome:
    """`onceread read`: take the paths in and read them into saved state."""
    with ExtractingBar(stop) as bar:
        document = library.add(home, options.paths, options.title, bar, options.ocr)
    with ReadingBar() as bar:
        result = reading.read(home, document.id, bar, stop)
    earlier = library.earlier_version(home, document)
    facts = {"coverage": asdict(library.covered(document)), "update_of": asdict(earlier) if earlier else None}
    text = (
        f"{result.title}  [{result.document}]\n"
        f"{result.tokens_read:,} of {result.tokens:,} tokens read in {result.seconds:.1f} s, "
        f"{result.tokens_reused:,} reused ({result.reason}); state {size(result.state_bytes)}"
    )
    if earlier:
        text += f"\nIt looks like a new version of {earlier.title} [{earlier.document}], which is kept too."
    return asdict(result) | facts, "\n".join([text, *in_words(library.covered(document))]), 0


def estimate(home: Home, options: argparse.Namespace, stop: Stop) -> Outcome:
    """`onceread estimate`: what reading would take."""
    with ExtractingBar(stop) as bar:
        result = library.estimate(home, options.paths, bar, options.ocr)
    pages = f", {result.pages:,} pages" if result.pages else ""
    text = (
        f"{result.title}: {result.tokens:,} tokens{pages}; reading takes about {duration(result.seconds_estimate)}, "
        f"state {size(result.state_bytes)}"
    )
    if result.tokens_reused:
        text += f"; {result.tokens_reused:,} tokens are in saved state already"
    lines = [text]
    if result.known:
        lines.append(f"It is in the library already: {result.known.title} [{result.known.document}].")
    if result.update_of:
        before = result.update_of
        lines.append(f"It looks like a new version of {before.title} [{before.document}].")
    if result.over_budget:
        lines.append(f"It cannot be read: {result.over_budget}.")
    elif result.evicts:
        lines.append(room.sentence(room.will_be_let_go(result.evicts)))
    return asdict(result), "\n".join([*lines, *in_words(result.coverage)]), 0


class ExtractingBar:
    """A progress bar on stderr for getting the text: pages of a PDF or files. It stops when the person asks to."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._bar = tqdm(desc="taking in", file=sys.stderr, leave=False, delay=1.0)

    def __enter__(self) -> "ExtractingBar":
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._bar.close()
        if isinstance(error, ScannedSource):
            raise OncereadError(f"{error} (--ocr)") from error

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show how far it is. Raises ReadingStopped."""
        if self._stop():
            raise ReadingStopped("stopped while taking it in; nothing was kept")
        self._bar.total = total
        self._bar.set_postfix_str(what[-40:], refresh=False)
        self._bar.update(done - self._bar.n)


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
        self._bar.set_description(progress.waiting or "reading")
        self._bar.update(progress.done - self._bar.n)
