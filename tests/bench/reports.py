"""Batch reports: cells a minute together and one by one over a long document, and ten books killed again and again."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
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
REPORT = "report.json"
TEXTS = ""
"""A folder of ten whole books (.txt) for the second part, in place of the ten openings that the tests have."""
PARTS = "together,books,killed"
KEEP = ""
"""A folder to leave the reports on books in, `whole` and `killed`: two processes can make them side by side."""
LONGEST = 0.0
"""Seconds from a start to its kill, at most; 0: a fifteenth of what the undisturbed run took."""


def run() -> Iterator[str]:
    """Measure; yields the lines of two Markdown tables as they come."""
    settings = Settings.from_environment()
    with tempfile.TemporaryDirectory() as folder:
        place, kept = Path(folder), Path(KEEP or folder).resolve()
        long, books, again = (replace(settings, home=place / name, database=None) for name in ("a", "b", "c"))
        yield from (f"model {settings.model_name}", "")
        if "together" in PARTS:
            yield from _together(long)
            yield ""
        yield from ("| what | measured |", "|---|---|")
        longest = LONGEST
        if "books" in PARTS:
            seconds = yield from _books(books, kept / "whole")
            longest = longest or max(0.5, seconds / 15)
        if "killed" in PARTS:
            yield from _killed(again, kept / "killed", longest or 0.5)
        if all((kept / name / REPORT).exists() for name in ("whole", "killed")):
            whole, killed = (json.loads((kept / name / REPORT).read_text("utf-8")) for name in ("whole", "killed"))
            same = sum(_said(one) == _said(other) for one, other in zip(whole["cells"], killed["cells"], strict=True))
            yield f"| cells with the same answer, quote and state as undisturbed | {same} of {len(whole['cells'])} |"


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


def _books(settings: Settings, out: Path) -> Generator[str, None, float]:
    """Ten books through the book brief; returns the seconds that took."""
    home, books = Home(settings), _ten()
    whole = run_report(home, TEMPLATE, add_books(home, books), out)
    facts = json.loads((out / REPORT).read_text("utf-8"))
    tokens = sum(document.tokens or 0 for document in home.documents.list())
    home.close()
    states = ", ".join(f"{count} {state}" for state, count in facts["counts"].items() if count)
    took = f"{whole.cells} cells in {whole.seconds:.0f} s, reading {tokens:,} tokens"
    yield f"| {len(books)} books × {TEMPLATE} | {took}: {states} |"
    yield _as_golden(out)
    return whole.seconds


def _killed(settings: Settings, out: Path, longest: float) -> Iterator[str]:
    """The same, killed again and again at random moments."""
    home = Home(settings)
    job = create(home, load(TEMPLATE), add_books(home, _ten()), out)
    home.close()
    command = [sys.executable, "-m", "tests.app.reports.killing", settings.home, settings.model, job.id, KILLS, longest]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=MOST_SECONDS + 60 * KILLS
    )
    killed = json.loads(done.stdout)
    yield (f"| the same with kill -9, each within {longest:.1f} s of a start | {killed['killed']} kills survived, "
           f"{killed['seconds']:.0f} s in all |")  # fmt: skip
    yield _as_golden(out)
    yield f"| cells recomputed (claimed again after a kill) | {killed['claims'] - killed['answers']} |"
    yield f"| cells answered twice | {killed['answers'] - killed['cells']} |"


def _ten() -> list[Path]:
    """The books."""
    return sorted(Path(TEXTS).glob("*.txt")) if TEXTS else BOOKS


def _as_golden(out: Path) -> str:
    """Whether a report is made as the golden one is, whatever the books say."""
    golden, found = json.loads(GOLDEN.read_text("utf-8")), structure(out / REPORT)
    wrong = [name for name in golden if name != "documents" and golden[name] != found[name]]
    return f"| structure as in the golden run | {'yes' if not wrong else 'no: ' + ', '.join(wrong)} |"


def _said(cell: dict[str, object]) -> list[object]:
    return [cell[name] for name in ("title", "question", "state", "text", "value", "problem", "quotes")]
