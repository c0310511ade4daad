"""Whether what a question's words lead to holds its answer: the passage shown, and the sentences that may be quoted.

No model runs: a minute or two on one core. Questions of the reading sets in $ONCEREAD_EVAL (by default ../shared/eval)
that have an answer, asked of their whole article or tale, and of long documents made of many. Every second row only,
for the others were used to choose settings; `--rows` takes so many, evenly spaced. Beside it the best passage by plain
BM25: of our index, and of bm25s where that package is installed (`pip install bm25s`).
"""

import importlib
import importlib.util
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.answers import quotable
from app.choosing import Asked, stem
from app.evidence import SIZE, chosen, find, index
from app.home import Home
from app.passages import Passage, Places
from app.sentences import passages
from app.settings import MINI, Settings
from model.training.evaluate import normalise, read_rows
from storage.documents import Segment

ROOT = Path(__file__).parents[2]
EVAL = Path(os.environ.get("ONCEREAD_EVAL", ROOT.parent / "shared" / "eval"))
ROWS = 0
"""Questions of each set; 0 for all."""
EXCERPT = 0
"""Characters of an excerpt; 0 for what suits the model."""
PARITY = 1
"""Which rows: the odd ones. The even ones (0) are for choosing settings."""
SETS = ("squad1", "squad2", "fairytale")
LONG = {"100k": 430_000, "500k": 2_150_000}
"""Characters of the long documents, by what they are in tokens. SQuAD's questions only: those about a tale name nobody
outside it."""
EVIDENCE = (1, 2, 4)
QUOTED = (1, 3, 8)
CHARS = "characters shown"


@dataclass(frozen=True)
class Question:
    """A question, its right answers, and the paragraph they were taken from (a section, of a tale)."""

    asked: str
    golds: tuple[str, ...]
    paragraph: str


def run() -> list[str]:
    """Measure; returns the lines of a Markdown table."""
    if not EVAL.is_dir():
        return [f"{EVAL} is missing: nothing to measure with."]
    texts, questions = _texts(), {name: _questions(name) for name in SETS}
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Settings(Path(folder), MINI, "cpu"))
        for name in SETS:
            whole = {doc: texts[doc] for doc in questions[name]}
            rows[f"{name}, whole"] = _means(home, whole, questions[name])
        for name, chars in LONG.items():
            for kind in SETS[:2]:
                joined = _joined(texts, list(questions[kind]), chars)
                asked = {title: [one for doc in docs for one in questions[kind].get(doc, [])]
                         for title, (_, docs) in joined.items()}
                whole = {title: text for title, (text, _) in joined.items()}
                rows[f"{kind}, in {name} tokens"] = _means(home, whole, asked)
        home.close()
    head = ["questions", *next(iter(rows.values()))]
    lines = ["Share that holds a right answer, in per cent", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, means in rows.items():
        cells = [f"{value:,}" if isinstance(value, int) else f"{value:.1f}" for value in means.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _texts() -> dict[str, str]:
    """Every article, tale and chapter by its name; squad2's articles are put together from their paragraphs."""
    texts = {row["doc"]: row["text"] for row in read_rows(EVAL / "whole-documents.jsonl.xz")}
    paragraphs: dict[str, dict[int, str]] = {}
    for row in read_rows(EVAL / "reading-squad2.jsonl.xz"):
        paragraphs.setdefault(row["doc"], {})[row["para"]] = row["context"]
    texts |= {doc: "\n\n".join(each[n] for n in sorted(each)) for doc, each in paragraphs.items()}
    for name in ("textbooks", "books"):
        texts |= {row["title"]: row["text"] for row in read_rows(EVAL / f"{name}.jsonl.xz")}
    return texts


def _questions(name: str) -> dict[str, list[Question]]:
    """A reading set's questions by document: of the rows in turn, those whose answer stands in their paragraph."""
    rows = [row for row in read_rows(EVAL / f"reading-{name}.jsonl.xz")[PARITY::2] if _answered(row)]
    count = min(ROWS or len(rows), len(rows))
    rows = [rows[n * len(rows) // count] for n in range(count)]
    found: dict[str, list[Question]] = {}
    for row in rows:
        found.setdefault(row["doc"], []).append(Question(row["question"], tuple(row["answers"]), row["context"]))
    return found


def _answered(row: dict[str, Any]) -> bool:
    return not row["unanswerable"] and _holds(row["context"], row["answers"])


def _joined(texts: dict[str, str], docs: Sequence[str], chars: int) -> dict[str, tuple[str, list[str]]]:
    """Documents of about so many characters in which all of `docs` stand, by title: each with what it is made of. The
    last is filled up with other texts."""
    rest = [doc for doc in texts if doc not in docs]
    made: dict[str, tuple[str, list[str]]] = {}
    left = [*docs]
    while left:
        parts: list[str] = []
        while (left or rest) and sum(len(texts[part]) for part in parts) < chars:
            parts.append((left or rest).pop(0))
        made[f"joined {len(made)}"] = ("\n\n".join(texts[part] for part in parts), parts)
    return made


def _means(home: Home, texts: dict[str, str], questions: dict[str, list[Question]]) -> dict[str, float]:
    """The columns of a row: how many were asked, shares in per cent, and the characters that are shown."""
    sums: dict[str, float] = defaultdict(float)
    asked = 0
    for number, (doc, text) in enumerate(texts.items()):
        places = Places(text, [Segment(0, 0, len(text), "text.txt", None, 1)])
        document = f"text{number}"
        index(home, document, places)
        rival = _bm25s(places) if importlib.util.find_spec("bm25s") else None
        for question in questions[doc]:
            asked += 1
            for column, value in _measured(home, document, places, question, rival):
                sums[column] += value
        home.evidence.remove(document)
    means = {column: round(total / asked) if column == CHARS else 100 * total / asked for column, total in sums.items()}
    return {"asked": asked} | means


def _measured(
    home: Home, document: str, places: Places, question: Question, rival: Callable[[str], str] | None
) -> Iterator[tuple[str, float]]:
    """What counts for a question, by column. rival: its best passage for a question."""
    found = find(home, document, places, question.asked, EXCERPT or home.aids.excerpt)
    holding = {}
    for count in EVIDENCE:
        shown = [one.passage for one in chosen(found, count)]
        holding[count] = [passage for passage in shown if _holds(places.words(passage), question.golds)]
        yield f"{count} shown", bool(holding[count])
    first = chosen(found, 1)
    yield "1 shown, of the right paragraph", any(
        _overlaps(places, passage, question.paragraph) for passage in holding[1]
    )
    yield CHARS, sum(one.passage.char_end - one.passage.char_start for one in first)
    asked = Asked.of(question.asked)
    quotes = [_holds(places.words(one.sentence), question.golds) for one in quotable(places, first, asked)]
    for count in QUOTED:
        yield f"best of {count} sentences" if count > 1 else "first sentence", any(quotes[:count])
    best = [places.text[hit.char_start : hit.char_end] for hit in home.evidence.search(document, asked.words, 1)]
    yield "the index's best passage", any(_holds(words, question.golds) for words in best)
    if rival:
        yield "bm25s' best passage", _holds(rival(question.asked), question.golds)


def _bm25s(places: Places) -> Callable[[str], str]:
    """The best of the same passages for a question, by bm25s as it comes, with our stemmer."""
    bm25s = importlib.import_module("bm25s")
    cut = [places.words(passage) for passage in passages(places.text, size=SIZE)]

    def tokens(texts: list[str]) -> Any:
        return bm25s.tokenize(texts, stemmer=lambda words: [stem(word) for word in words], show_progress=False)

    table = bm25s.BM25()
    table.index(tokens(cut), show_progress=False)
    return lambda asked: cut[int(table.retrieve(tokens([asked]), k=1, show_progress=False)[0][0, 0])]


def _holds(words: str, golds: Sequence[str]) -> bool:
    words = f" {normalise(words)} "
    return any(f" {normalise(gold)} " in words for gold in golds if normalise(gold))


def _overlaps(places: Places, passage: Passage, paragraph: str) -> bool:
    """Whether a passage has words of the paragraph, wherever that stands in the text."""
    start = places.text.find(paragraph)
    return start < passage.char_end and passage.char_start < start + len(paragraph) if start >= 0 else False
