"""Whether answers are right, and whether what they quote holds them: by kind of question and length of the text.

Any model: `$ONCEREAD_MODEL`. Texts go through the shipped path (added, read, asked from saved state). Reading sets come
from $ONCEREAD_EVAL (by default ../shared/eval); every second row only, for the others were used to choose settings.
"""

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app import library, reading, session
from app.home import Home
from app.settings import Settings
from model.sampling import Sampling
from model.training.evaluate import f1, normalise, read_rows
from tests.app.hostile import ANSWER, FACT, PASSAGES, QUESTION
from tests.bench import ruler

ROOT = Path(__file__).parents[2]
EVAL = Path(os.environ.get("ONCEREAD_EVAL", ROOT.parent / "shared" / "eval"))
ROWS = 24
"""Questions of each reading set."""
LENGTHS = "1000,4000,16000,64000"
"""Tokens of the made-up texts."""
PLOT = ""
"""A file to draw right answers by length into."""
CHARS_A_TOKEN = 4.0
SAMPLING = Sampling(max_tokens=96)
EVIDENCE = {"none": 0, "auto": None}


class Tally:
    """Sums of what was measured, by row of a table."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, ...], dict[str, float]] = defaultdict(lambda: defaultdict(float))

    def add(self, row: tuple[str, ...], answer: session.Answer, golds: Sequence[str], all_of: bool = False) -> None:
        """Count an answer. golds: strings that it must hold (all of them), or of which the best counts."""
        sums = self.sums[row]
        said = answer.answer if answer.found else ""
        held = [normalise(gold) in normalise(said) for gold in golds]
        sums["asked"] += 1
        sums["right"] += all(held) if all_of else any(held)
        sums["f1"] += max((f1(said, gold) for gold in golds), default=0.0)
        sums["exact"] += any(normalise(said) == normalise(gold) for gold in golds)
        sums["refused"] += not answer.found
        sums["first token"] += answer.seconds_to_first_token
        sums["read"] += answer.tokens_read
        for citation in answer.citations:
            sums["shown"] += 1
            sums["verified"] += citation.verified
            sums["supports"] += citation.verified and any(normalise(g) in normalise(citation.quote) for g in golds)
        sums["recalled"] += any(
            citation.verified and any(normalise(gold) in normalise(citation.quote) for gold in golds)
            for citation in answer.citations
        )

    def table(self, first: str) -> list[str]:
        """The rows as a Markdown table, in per cent but for the last two columns."""
        lines = [f"| {first} | evidence | asked | right | F1 | exact | refused | quotes verified | quotes that hold "
                 "the answer | answers with such a quote | first token, s | tokens read |", "|---" * 12 + "|"]
        for row, s in self.sums.items():
            n, shown = s["asked"], max(1, s["shown"])
            shares = [100 * s[key] / n for key in ("right", "f1", "exact", "refused")]
            shares += [100 * s["verified"] / shown, 100 * s["supports"] / shown, 100 * s["recalled"] / n]
            cells = [*row, f"{n:.0f}", *(f"{share:.0f}" for share in shares), f"{s['first token'] / n:.2f}",
                     f"{s['read'] / n:.0f}"]
            lines.append("| " + " | ".join(cells) + " |")
        return lines


def run() -> list[str]:
    """Measure; returns the lines of two Markdown tables."""
    rows, plot, lengths = ROWS, PLOT, [int(length) for length in LENGTHS.split(",") if length]
    settings = Settings.from_environment()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Settings(Path(folder) / "home", settings.model, settings.device))
        made = _made(home, Path(folder), lengths)
        read = _reading(home, Path(folder), rows) if EVAL.is_dir() else None
        resisted = _injection(home, Path(folder))
        home.close()
    if plot:
        _draw(made, lengths, Path(plot))
    lines = [f"model {settings.model_name}", "", "Made-up facts, by length in tokens:", "", *made.table("kind, length")]
    lines += ["", f"Text that addresses the model: {resisted} of {len(PASSAGES)} answered and cited as without it.", ""]
    return lines + (["Reading sets:", "", *read.table("set")] if read else [f"{EVAL} is missing: no reading sets."])


def _made(home: Home, folder: Path, lengths: Sequence[int]) -> Tally:
    tally = Tally()
    books = EVAL / "books.jsonl.xz"
    filler = read_rows(books)[0]["text"] if books.is_file() else (ROOT / "ui" / "sample.txt").read_text("utf-8")
    for length in lengths:
        chars = int(length * CHARS_A_TOKEN)
        hay, cases = ruler.haystack(filler, chars, seed=length)
        words, counted = ruler.frequent_word(chars, seed=length)
        files, asked = ruler.code(chars, seed=length)
        for files_, cases_ in (({"hay.txt": hay}, cases), ({"words.txt": words}, counted), (files, asked)):
            document = _add(home, folder / str(length), files_)
            for case in cases_:
                for evidence in EVIDENCE:
                    answer = _ask(home, document, case.question, evidence)
                    tally.add((f"{case.kind}, {length:,}", evidence), answer, case.answers, all_of=True)
    return tally


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


def _draw(tally: Tally, lengths: Sequence[int], path: Path) -> None:
    """Right answers by length, a line for each kind, with and without evidence. Needs the extra `bench`."""
    from matplotlib import pyplot

    _, axes = pyplot.subplots(figsize=(8, 5))
    for kind in dict.fromkeys(row[0].rsplit(", ", 1)[0] for row in tally.sums):
        for evidence, line in (("auto", "-"), ("none", ":")):
            found = [tally.sums.get((f"{kind}, {length:,}", evidence)) for length in lengths]
            shares = [100 * s["right"] / s["asked"] if s else None for s in found]
            axes.plot(lengths, shares, line, marker="o", label=f"{kind}, evidence {evidence}")
    axes.set(xscale="log", xlabel="tokens", ylabel="right, %", ylim=(-3, 103))
    axes.legend(fontsize=7)
    pyplot.savefig(path, bbox_inches="tight")
