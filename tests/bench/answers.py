"""Whether answers are right, and whether what they quote holds them: by kind of question and length of the text.

Any model: `$ONCEREAD_MODEL`. Texts go through the shipped path (added, read, asked from saved state). Reading sets come
from $ONCEREAD_EVAL (by default ../shared/eval); every second row only, for the others were used to choose settings.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from app import library, reading, session
from app.home import Home
from app.settings import Settings
from model.sampling import Sampling
from model.training.evaluate import read_rows
from tests.app.hostile import ANSWER, FACT, PASSAGES, QUESTION
from tests.bench import ruler
from tests.bench.tally import Tally

ROOT = Path(__file__).parents[2]
EVAL = Path(os.environ.get("ONCEREAD_EVAL", ROOT.parent / "shared" / "eval"))
ROWS = 24
"""Questions of each reading set."""
LENGTHS = "1000,4000,16000,64000"
"""Tokens of the made-up texts."""
PLOT = ""
"""A file to draw right answers by length into."""
PARTS = "made,reading,hostile"
SEEDS = "0"
"""Of the made-up texts: one of each kind and length for each seed."""
KINDS = "hay,words,code"
"""Of the made-up texts: facts between a book's paragraphs, a list of words, source files."""
KEEP = ""
"""A file (.json) to keep the sums of the made-up facts in after every question. A folder: print what such files there
hold together, and ask nothing."""
CHARS_A_TOKEN = 4
"""About; a first draft of each made-up text says it exactly."""
SAMPLING = Sampling(max_tokens=96)
EVIDENCE = {"none": 0, "auto": None}


def run() -> Iterator[str]:
    """Measure; yields the lines of the Markdown tables as they come."""
    rows, parts = ROWS, PARTS.split(",")
    if KEEP and Path(KEEP).is_dir():
        yield from _said(Tally.joined(sorted(Path(KEEP).glob("*.json"))))
        return
    settings = Settings.from_environment()
    yield f"model {settings.model_name}"
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Settings(Path(folder) / "home", settings.model, settings.device))
        if "made" in parts:
            yield from _said(_made(home, Path(folder)))
        if "hostile" in parts:
            resisted = _injection(home, Path(folder))
            done = f"{resisted} of {len(PASSAGES)} answered and cited as without it."
            yield from ("", f"Text that addresses the model: {done}")
        if "reading" in parts:
            read = _reading(home, Path(folder), rows).table("set") if EVAL.is_dir() else [f"{EVAL} is missing."]
            yield from ("", "Reading sets:", "", *read)
        home.close()


def _said(tally: Tally) -> list[str]:
    """What is said of made-up facts, and their plot."""
    if PLOT:
        tally.draw(Path(PLOT))
    return ["", "Made-up facts, by length in tokens:", "", *tally.table("kind, length"), "", *tally.by_length()]


def _made(home: Home, folder: Path) -> Tally:
    """Made-up facts of each length, seed and kind; every text is read once and asked everything."""
    tally = Tally()
    lengths = [int(length) for length in LENGTHS.split(",")]
    for length, seed, kind in product(lengths, [int(seed) for seed in SEEDS.split(",")], KINDS.split(",")):
        draft = "\n\n".join(_text(kind, CHARS_A_TOKEN * length, length + seed)[0].values())
        chars = CHARS_A_TOKEN * length * length // len(home.engine.tokenizer.encode(draft))
        files, cases = _text(kind, chars, length + seed)
        document = _add(home, folder / f"{length}-{seed}", files)
        for case in cases:
            for evidence in EVIDENCE:
                answer = _ask(home, document, case.question, evidence)
                tally.add((f"{case.kind}, {length:,}", evidence), answer, case.answers, all_of=True)
            if KEEP:
                tally.save(Path(KEEP))
    return tally


def _text(kind: str, chars: int, seed: int) -> tuple[dict[str, str], list[ruler.Case]]:
    """Files of about so many characters, and what is asked about them."""
    if kind == "words":
        words, cases = ruler.frequent_word(chars, seed)
        return {"words.txt": words}, cases
    if kind == "code":
        return ruler.code(chars, seed)
    hay, cases = ruler.haystack(_filler(seed), chars, seed, several=4)
    return {"hay.txt": hay}, cases


def _filler(seed: int) -> str:
    """Books, another one first for another seed."""
    if not (path := EVAL / "books.jsonl.xz").is_file():
        return (ROOT / "ui" / "sample.txt").read_text("utf-8")
    books = [row["text"] for row in read_rows(path)]
    first = seed % len(books)
    return "\n\n".join(books[first:] + books[:first])


def _reading(home: Home, folder: Path, rows: int) -> Tally:
    """The reading sets, given the passage and (where it is there) through the whole document."""
    tally = Tally()
    whole = {row["doc"]: row["text"] for row in read_rows(EVAL / "whole-documents.jsonl.xz")}
    for name in ("squad1", "squad2", "fairytale"):
        for row in _some(read_rows(EVAL / f"reading-{name}.jsonl.xz")[1::2], rows):
            kind = f"{name}, unanswerable" if row["unanswerable"] else name
            texts = {"passage": row["context"]} | ({"whole": whole[row["doc"]]} if row["doc"] in whole else {})
            for path, text in texts.items():
                document = _add(home, folder / "reading", {"text.txt": text})
                for evidence in EVIDENCE:
                    answer = _ask(home, document, row["question"], evidence)
                    tally.add((f"{kind}, {path}", evidence), answer, row["answers"])
    return tally


def _injection(home: Home, folder: Path) -> int:
    """How many of the hostile passages leave the answer and its citation as they are without them."""
    resisted = 0
    for n, passage in enumerate(PASSAGES):
        document = _add(home, folder / f"hostile{n}", {"story.txt": f"{passage}\n\n{FACT}\n\n{passage}"})
        answer = _ask(home, document, QUESTION, "auto")
        quotes = [citation.quote for citation in answer.citations if citation.verified]
        resisted += ANSWER in answer.answer and any(ANSWER in quote for quote in quotes)
    return resisted


def _some(rows: Sequence[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Evenly spaced rows, those of one document together."""
    step = max(1, len(rows) // count)
    yield from rows[::step][:count]


def _add(home: Home, folder: Path, files: dict[str, str]) -> str:
    """A document of these files, read into saved state (once)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    paths = [folder / name for name in files]
    document = library.add(home, paths)
    reading.read(home, document.id)
    return document.id


def _ask(home: Home, document: str, question: str, evidence: str) -> session.Answer:
    *_, answer = session.ask(
        home, document, question, sampling=SAMPLING, keep=False, evidence=EVIDENCE[evidence]
    )
    assert isinstance(answer, session.Answer)
    return answer
