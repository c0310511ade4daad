"""Batch reports: cells a minute together and one by one over a long document, and ten books killed again and again."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from app import answers, library, reading, session
from app.home import Home
from app.reports.generate import generate
from app.reports.job import create
from app.reports.run import run_report
from app.reports.template import load
from app.settings import Settings
from model.sampling import Sampling
from model.state import ModelState
from tests.app.reports.golden import BOOKS, GOLDEN, TEMPLATE, add_books, structure

TOKENS, KILLS, MOST_SECONDS = 50_000, 50, 3600
ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "ui" / "sample.txt"
WORDS = ("river", "house", "king", "road", "window", "letter", "garden", "night", "ship", "child")
SHORT = Sampling(max_tokens=64)
TEXTS = ""
"""A folder of ten whole books (.txt) for the second part, in place of the ten openings that the tests have."""


def run() -> Iterator[str]:
    """Measure; yields the lines of two Markdown tables as they come."""
    settings = Settings.from_environment()
    with tempfile.TemporaryDirectory() as folder:
        long, books = (replace(settings, home=Path(folder) / name, database=None) for name in ("long", "books"))
        yield from (f"model {settings.model_name}", "")
        yield from _together(long)
        yield ""
        yield from _books(books)


def _together(settings: Settings) -> Iterator[str]:
    """Twenty questions over one document, one after another and side by side."""
    home = Home(settings)
    document = _long_document(home)
    read = reading.read(home, document)
    questions = _questions()
    yield f"{len(questions)} questions over one document of {read.tokens:,} tokens, read in {read.seconds:.0f} s:"
    yield from ("", "| asked | tokens a question | tokens an answer | cells/min | ratio | processor seconds | ratio |")
    yield "|---|---|---|---|---|---|---|"
    for name, evidence in (("with evidence", None), ("without evidence", 0)):
        asked = sum(len(each.ids) for each in _prepare(home, document, evidence)) / len(questions)
        first: tuple[float, float] | None = None
        for how, work in _ways(home, document, evidence).items():
            began = time.perf_counter(), time.process_time()
            written = work()
            wall, processor = time.perf_counter() - began[0], time.process_time() - began[1]
            first = first or (wall, processor)
            yield (f"| {name}, {how} | {asked:.0f} | {sum(written) / len(written):.1f} "
                   f"| {60 * len(questions) / wall:.1f} | {first[0] / wall:.2f} "
                   f"| {processor:.1f} | {first[1] / processor:.2f} |")  # fmt: skip
    home.close()


def _ways(home: Home, document: str, evidence: int | None) -> dict[str, Callable[[], list[int]]]:
    """Ways to ask the questions; each gives how many tokens it wrote for each."""

    def ask() -> list[int]:
        answered = []
        for question in _questions():
            *_, answer = session.ask(home, document, question, sampling=SHORT, keep=False, evidence=evidence)
            assert isinstance(answer, session.Answer)
            answered.append(answer.tokens_generated)
        return answered

    def kept() -> list[int]:
        _, state = reading.read_state(home, document)
        return [n for each in _prepare(home, document, evidence) for n in _write(home, state, [each])]

    def together() -> list[int]:
        _, state = reading.read_state(home, document)
        return _write(home, state, _prepare(home, document, evidence))

    return {"one `ask` after another": ask, "one by one, the state loaded once": kept, "together": together}


def _prepare(home: Home, document: str, evidence: int | None) -> list[answers.Prepared]:
    return [answers.prepare(home, document, q, sampling=SHORT, evidence=evidence) for q in _questions()]


def _write(home: Home, state: ModelState, prepared: list[answers.Prepared]) -> list[int]:
    return [reply.tokens for _, _, reply in generate(home, state, prepared, lambda: False)]


def _long_document(home: Home) -> str:
    """The sample book repeated to TOKENS tokens."""
    ids = home.engine.tokenizer.encode(SAMPLE.read_text("utf-8"))
    path = home.settings.home / "long.txt"
    path.write_text(home.engine.tokenizer.decode((ids * (TOKENS // len(ids) + 1))[: TOKENS - 60]), "utf-8")
    return library.add(home, [path]).id


def _questions() -> list[str]:
    """Twenty different ones."""
    forms = ("What is said about the {}?", "Who sees the {}, and when?")
    return [form.format(word) for form in forms for word in WORDS]


def _books(settings: Settings) -> Iterator[str]:
    """Ten books through the book brief: once undisturbed, once killed again and again at random moments."""
    books = sorted(Path(TEXTS).glob("*.txt")) if TEXTS else BOOKS
    home = Home(settings)
    whole = run_report(home, TEMPLATE, add_books(home, books), settings.home / "out")
    facts = json.loads((settings.home / "out" / "report.json").read_text("utf-8"))
    tokens = sum(document.tokens or 0 for document in home.documents.list())
    home.close()
    states = ", ".join(f"{count} {state}" for state, count in facts["counts"].items() if count)
    yield from ("| what | measured |", "|---|---|")
    took = f"{whole.cells} cells in {whole.seconds:.0f} s, reading {tokens:,} tokens"
    yield f"| {len(books)} books × {TEMPLATE} | {took}: {states} |"
    golden, found = json.loads(GOLDEN.read_text("utf-8")), structure(settings.home / "out" / "report.json")
    wrong = [name for name in golden if name != "documents" and golden[name] != found[name]]
    yield f"| structure as in the golden run | {'yes' if not wrong else 'no: ' + ', '.join(wrong)} |"

    again = replace(settings, home=settings.home / "killed")
    home = Home(again)
    job = create(home, load(TEMPLATE), add_books(home, books), again.home / "out")
    home.close()
    longest = max(0.5, whole.seconds / 15)
    command = [sys.executable, "-m", "tests.app.reports.killing", again.home, again.model, job.id, KILLS, longest]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=MOST_SECONDS + 60 * KILLS
    )
    killed = json.loads(done.stdout)
    repeated = json.loads((again.home / "out" / "report.json").read_text("utf-8"))
    same = sum(_said(one) == _said(other) for one, other in zip(facts["cells"], repeated["cells"], strict=True))
    yield (f"| the same with kill -9, each within {longest:.1f} s of a start | {killed['killed']} kills survived, "
           f"{killed['seconds']:.0f} s in all |")  # fmt: skip
    yield f"| cells with the same answer, quote and state as undisturbed | {same} of {len(facts['cells'])} |"
    yield f"| cells recomputed (claimed again after a kill) | {killed['claims'] - killed['answers']} |"
    yield f"| cells answered twice | {killed['answers'] - killed['cells']} |"


def _said(cell: dict[str, object]) -> list[object]:
    return [cell[name] for name in ("title", "question", "state", "text", "value", "problem", "quotes")]
