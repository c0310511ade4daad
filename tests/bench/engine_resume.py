"""A document through the application: read and saved beside reading, then taken up again, files cached and not."""

import os
import random
import string
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

from app import dialogue, reading, states
from app.home import Home
from app.latents import named
from app.settings import Settings
from model.engine import Engine

LONG = 500_000
"""From so many tokens on one reading each, saved and not, tells what saving costs: a million take two minutes."""

TARGETS = {128: 0.7, 1024: 6.0}
"""Seconds from a saved state of so many thousand tokens to the first token, files cached: what issue 5 asks for."""


def run(engine: Engine, tokens: int = 0) -> Iterator[str]:
    """How long reading takes with and without saving, and how soon the first token comes from what was saved.

    tokens: of the document, about; 128k on a GPU if 0. A million take four minutes."""
    from tests.bench import engine as bench

    usual = 128 * bench.UNIT
    text = "".join(random.Random(0).choices(string.ascii_uppercase + string.digits, k=tokens or usual))
    home = _home(engine)
    first = home.documents.add("letters", "text", text[:usual], [], [], None)
    result = bench.seconds(lambda: reading.read(home, first.id))
    yield "| work | seconds | target |"
    yield "|---|---|---|"
    yield f"| {home.documents.get(first.id).tokens:,} tokens read for the first time, saved | {result:.2f} | |"
    bare, saved, document = _in_turns(home, text, 1 if len(text) >= LONG else 3)
    ids = dialogue.document_ids(home.engine, home.documents.text(document))
    yield f"| {len(ids):,} tokens, cut and read, not saved | {bare:.2f} | |"
    yield f"| cut, read and saved | {saved:.2f} ({saved / bare - 1:+.1%}) | at most +3 %; 180 s for a million |"
    thousands = len(ids) // bench.UNIT
    target = next((f"{target} s" for size, target in TARGETS.items() if abs(size - thousands) < size / 50), "")
    for what in ("cached", "cached", "not cached"):
        if what == "not cached":
            _uncache(home.settings.home)
        spent = bench.seconds(lambda: _first_token(home, document, ids))
        asked = target if what == "cached" else ""
        yield f"| from the saved state to the first token, files {what} | {spent:.2f} | {asked} |"
    home.close()


def _in_turns(home: Home, text: str, turns: int) -> tuple[float, float, str]:
    """Medians of so many readings of a text, each cut into tokens anew, without and with saving; the document that was
    saved last."""
    from tests.bench import engine as bench

    engine = home.engine
    bare: list[float] = []
    saved: list[float] = []
    for turn in range(turns):
        bare.append(bench.seconds(lambda: engine.read(engine.empty(), dialogue.document_ids(engine, text))))
        other = f"{turn}{text[1:]}"  # so that nothing saved is reused
        document = home.documents.add(f"turn {turn}", "text", other, [], [], None)
        saved.append(bench.seconds(lambda: reading.read(home, document.id)))  # noqa: B023
    return median(bare), median(saved), document.id


def _home(engine: Engine) -> Home:
    """A new data folder with this engine."""
    folder = Path(mkdtemp())
    home = Home(Settings(folder, folder, str(engine.device)))
    home._engine = replace(engine, fingerprint=named(engine.fingerprint, home.settings))
    return home


def _first_token(home: Home, document_id: str, ids: list[int]) -> None:
    restored = states.restore(home, document_id, ids)
    assert restored.state.tokens == len(ids), restored.reason
    home.engine.next_logits(restored.state, [5, 6, 7, 8])[1].argmax().item()


def _uncache(folder: Path) -> None:
    """Have the system let go of the files' contents."""
    for path in folder.glob("*.sqlite*"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
