"""The main job, timed as a person meets it: read a 20k-token text, ask, and ask again in a new process.

The peer is the same program without saved state, which has to read the text again for every question. How much of the
reading goes into saving, and how long loading the state takes, is measured in this process.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from app import library, reading, states
from app.dialogue import document_ids
from app.home import Home
from app.settings import Settings
from model.engine import Engine

TOKENS = 20_000
SAMPLE = Path(__file__).parents[2] / "ui" / "sample.txt"
QUESTION = "Who is the story about?"


def run() -> list[str]:
    """Measure; returns the lines of a Markdown table."""
    settings = Settings.from_environment()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text(_text(settings), "utf-8")
        environment = os.environ | {"ONCEREAD_HOME": str(Path(folder) / "home")}
        read = _onceread(environment, "read", str(text))
        database = Path(folder, "home", "onceread.sqlite").stat().st_size
        resumed = [_onceread(environment, "ask", read["document"], QUESTION) for _ in range(3)]
        fresh_home = environment | {"ONCEREAD_HOME": str(Path(folder) / "fresh")}
        document = _onceread(fresh_home, "read", "--json", str(text))["document"]
        _forget_states(Path(folder, "fresh", "onceread.sqlite"))
        fresh = _onceread(fresh_home, "ask", document, QUESTION)
        reading_seconds, saving, loading = _inside(settings, Path(folder), text)
    best = min(resumed, key=lambda facts: facts["seconds_to_first_token"])
    rows = [
        ("text", f"{read['tokens']:,} tokens"),
        ("read", f"{read['tokens_read'] / read['seconds']:,.0f} tokens/s ({read['seconds']:.1f} s)"),
        ("state", f"{read['state_bytes'] / 1e6:.1f} MB ({read['state_bytes'] / read['tokens']:,.0f} bytes/token)"),
        ("database file", f"{database / 1e6:.1f} MB"),
        ("ask, resumed in a new process: first token", f"{best['seconds_to_first_token']:.2f} s"),
        ("… tokens read (the question)", f"{best['tokens_read']:,}"),
        ("… whole command, start of Python to exit", f"{best['wall']:.2f} s"),
        ("saving, with its syncs, as a share of reading", f"{saving:.2f} of {reading_seconds:.1f} s "
         f"({saving / reading_seconds:.1%})"),
        ("loading the state, checksums verified", f"{loading:.3f} s"),
        ("ask, without saved state: first token", f"{fresh['seconds_to_first_token']:.2f} s"),
        ("… tokens read", f"{fresh['tokens_read']:,}"),
        ("… whole command", f"{fresh['wall']:.2f} s"),
    ]
    table = [f"| {what} | {measured} |" for what, measured in rows]
    return [f"model {settings.model_name}", "", "| what | measured |", "|---|---|", *table]


def _inside(settings: Settings, folder: Path, text: Path) -> tuple[float, float, float]:
    """Seconds of reading a text, of these in saving, and of loading its state again."""
    home = Home(replace(settings, home=folder / "inside"))
    _ = home.engine.model  # it is loaded before the clock starts
    spent = 0.0

    def save(*arguments: Any) -> Any:
        nonlocal spent
        begun = time.perf_counter()
        saved = states_save(*arguments)
        spent += time.perf_counter() - begun
        return saved

    states_save = states.save
    document = library.add(home, [text])
    with patch.object(states, "save", save):
        result = reading.read(home, document.id)
    ids = document_ids(home.engine, home.documents.text(document.id))
    begun = time.perf_counter()
    states.restore(home, document.id, ids)
    loading = time.perf_counter() - begun
    home.close()
    return result.seconds, spent, loading


def _text(settings: Settings) -> str:
    """The sample book, repeated and cut to TOKENS tokens with the prompt's opening."""
    engine = Engine.load(settings.model, settings.device)
    book = SAMPLE.read_text("utf-8")
    opening = len(document_ids(engine, ""))
    ids = engine.tokenizer.encode(book)
    while len(ids) < TOKENS:
        ids += ids
    return engine.tokenizer.decode(ids[: TOKENS - opening])


def _onceread(environment: Mapping[str, str], *arguments: str) -> dict:
    """Run one command in a new process; its JSON, with the wall time of the process."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "ui.start", *arguments, "--json"], env=environment, check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout) | {"wall": time.perf_counter() - started}


def _forget_states(path: Path) -> None:
    """Drop every saved state, as if there were no such thing."""
    import sqlite3

    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM blocks")
