"""The main job, timed as a person meets it: read a 20k-token text, ask, and ask again in a new process.

The peer is the same program without saved state, which has to read the text again for every question.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from app.dialogue import document_ids
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
    best = min(resumed, key=lambda facts: facts["seconds_to_first_token"])
    rows = [
        ("text", f"{read['tokens']:,} tokens"),
        ("read", f"{read['tokens_read'] / read['seconds']:,.0f} tokens/s ({read['seconds']:.1f} s)"),
        ("state", f"{read['state_bytes'] / 1e6:.1f} MB ({read['state_bytes'] / read['tokens']:,.0f} bytes/token)"),
        ("database file", f"{database / 1e6:.1f} MB"),
        ("ask, resumed in a new process: first token", f"{best['seconds_to_first_token']:.2f} s"),
        ("… tokens read (the question)", f"{best['tokens_read']:,}"),
        ("… whole command, start of Python to exit", f"{best['wall']:.2f} s"),
        ("ask, without saved state: first token", f"{fresh['seconds_to_first_token']:.2f} s"),
        ("… tokens read", f"{fresh['tokens_read']:,}"),
        ("… whole command", f"{fresh['wall']:.2f} s"),
    ]
    table = [f"| {what} | {measured} |" for what, measured in rows]
    return [f"model {settings.model_name}", "", "| what | measured |", "|---|---|", *table]


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
