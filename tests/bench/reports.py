"""Batch reports: cells a minute together and one by one over a long document, and ten books killed again and again."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from app import answers, library, reading
from app.home import Home
from app.reports.generate import generate
from app.reports.job import create
from app.reports.run import run_report
from app.reports.template import load
from app.settings import Settings
from model.sampling import Sampling
from model.state import ModelState
from tests.app.reports.golden import GOLDEN, TEMPLATE, add_books, structure

TOKENS, KILLS, LONGEST = 50_000, 50, 0.5
ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "ui" / "sample.txt"
WORDS = ("river", "house", "king", "road", "window", "letter", "garden", "night", "ship", "child")


def run() -> list[str]:
    """Measure; returns the lines of two Markdown tables."""
    settings = Settings.from_environment()
    with tempfile.TemporaryDirectory() as folder:
        long, books = (replace(settings, home=Path(folder) / name, database=None) for name in ("long", "books"))
        return [f"model {settings.model_name}", "", *_together(long), "", *_books(books)]


def _together(settings: Settings) -> list[str]:
    """Twenty questions over one document, side by side and one after another, from the same state."""
    home = Home(settings)
    document = _long_document(home)
    read, state = reading.read_state(home, document)
    lines = [
        f"{len(_questions())} questions over one document of {read.tokens:,} tokens, read in {read.seconds:.0f} s:", "",
        "| asked | tokens a question | tokens an answer | one by one, cells/min | together, cells/min | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, evidence in (("as `ask` does", None), ("without evidence", 0)):
        prepared = [
            answers.prepare(home, document, question, sampling=Sampling(max_tokens=64), evidence=evidence)
            for question in _questions()
        ]
        alone, _ = _cells_a_minute(home, state, prepared, together=False)
        many, written = _cells_a_minute(home, state, prepared, together=True)
        asked = sum(len(each.ids) for each in prepared) / len(prepared)
        lines.append(f"| {name} | {asked:.0f} | {written:.1f} | {alone:.1f} | {many:.1f} | {many / alone:.2f} |")
    home.close()
    return lines


def _cells_a_minute(
    home: Home, state: ModelState, prepared: list[answers.Prepared], together: bool
) -> tuple[float, float]:
    """Cells a minute, and tokens an answer."""
    started = time.perf_counter()
    groups = [prepared] if together else [[each] for each in prepared]
    tokens = [reply.tokens for group in groups for _, reply in generate(home, state, group, lambda: False)]
    return 60 * len(prepared) / (time.perf_counter() - started), sum(tokens) / len(tokens)


def _long_document(home: Home) -> str:
    """The sample book repeated to TOKENS tokens."""
    text, ids = SAMPLE.read_text("utf-8"), home.engine.tokenizer.encode(SAMPLE.read_text("utf-8"))
    whole = home.engine.tokenizer.decode((ids * (TOKENS // len(ids) + 1))[: TOKENS - 60])
    path = home.settings.home / "long.txt"
    path.write_text(whole or text, "utf-8")
    return library.add(home, [path]).id


def _questions() -> list[str]:
    """Twenty different ones."""
    forms = ("What is said about the {}?", "Who sees the {}, and when?")
    return [form.format(word) for form in forms for word in WORDS]


def _books(settings: Settings) -> list[str]:
    """Ten books through the book brief: once undisturbed, once killed KILLS times."""
    home = Home(settings)
    whole = run_report(home, TEMPLATE, add_books(home), settings.home / "out")
    facts = structure(settings.home / "out" / "report.json")
    counts = json.loads((settings.home / "out" / "report.json").read_text("utf-8"))["counts"]
    same = "yes" if GOLDEN.is_file() and facts == json.loads(GOLDEN.read_text("utf-8")) else "NO"
    home.close()
    again = replace(settings, home=settings.home / "killed")
    home = Home(again)
    job = create(home, load(TEMPLATE), add_books(home), again.home / "out")
    home.close()
    command = [sys.executable, "-m", "tests.app.reports.killing", again.home, again.model, job.id, KILLS, LONGEST]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.PIPE)
    killed = json.loads(done.stdout)
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    rows = [
        ("ten books × book-brief", f"{whole.cells} cells in {whole.seconds:.0f} s: {states}"),
        ("structure as in the golden run", same),
        ("the same, killed at random moments", f"{killed['killed']} kills survived, {killed['seconds']:.0f} s in all"),
        ("cells recomputed (claimed again after a kill)", f"{killed['claims'] - killed['answers']}"),
        ("cells answered twice", f"{killed['answers'] - killed['cells']}"),
    ]
    return ["| what | measured |", "|---|---|", *(f"| {what} | {measured} |" for what, measured in rows)]
