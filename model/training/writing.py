"""Questions that no annotator wrote: a copy of the teacher asks about any text, and a reader judges what it asked.

Told a span of a passage, the writer writes a question for it (Du et al., 2017, arXiv 1705.00106). A reader of another
kind then looks for the answer by itself, and the question is kept where it finds about the same span, which becomes the
answer (round-trip consistency: Alberti et al., 2019, arXiv 1906.05416). Questions without an answer (as SQuAD 2.0 has
them: Rajpurkar et al., 2018, arXiv 1806.03822) are written for a passage with a word changed and put to the passage as
it is; for an answer that the passage does not hold; or for another passage of the document. The reader must be as good
as sure that there is none.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from model.training import reader as reading
from model.training.continuing import Continuer
from model.training.data import plain_tokenizer
from model.training.evaluate import f1, normalise
from model.training.lessons import ASK, prompt
from model.training.passages import Ask, Run, asks
from model.training.pools import Row
from model.training.quotes import sentences, words
from model.training.teacher import Teacher

LONGEST_PROMPT, LONGEST_QUESTION = 600, 32
"""Tokens."""
ENOUGH = 0.97
"""Of a batch's questions: when so many have ended, the others break off."""
TEMPERATURE = 0.7
MOST_WORDS = 30
AGREES, AGREES_INSIDE = 0.7, 0.5
"""F1 of the span that the reader finds and the one asked for, at least; and where one holds the other."""
SURE, UNSURE = 3.0, -6.0
"""A question is answered where the reader is at least so sure, and not answered where it is at most so sure."""
NEIGHBOURS = 0.3
"""How often a question is also put to another passage."""
FILE_ROWS = 50_000
KINDS = ("asked", "altered", "original", "foreign", "neighbour")
"""A question for a passage, or for an altered one; that one put to the passage as it is; a question that asks for what
the passage does not hold; one put to another passage. The first two have answers."""


@dataclass(frozen=True)
class Words:
    """The files of the writer's and of the reader's tokenizer."""

    writer: Path
    reader: Path


@dataclass(frozen=True)
class Sheet:
    """What is asked in one go, and the writer's prompts."""

    asks: list[Ask]
    prompts: list[list[int]]


@dataclass(frozen=True)
class Check:
    """A question, the passage it is put to, and of which `KINDS` it is. after: the place among the checks of one that
    has to come out well first."""

    kind: str
    question: str
    passage: str
    ask: Ask
    after: int = -1

    @property
    def answerable(self) -> bool:
        """Whether an answer has to come out."""
        return self.kind in ("asked", "altered")


@dataclass(frozen=True)
class Checks:
    """Checks, and their questions and passages as the reader takes them."""

    checks: list[Check]
    pairs: reading.Pairs


def draw(some: Sequence[Run], seed: int, files: Words) -> Sheet:
    """What to ask about some runs."""
    source, tokenizer = random.Random(seed), _plain(files.writer)
    found = [ask for run in some for ask in asks(run, source)]
    prompts = [prompt(ASK.format(context=ask.told, answer=ask.answer), tokenizer) for ask in found]
    short = [n for n, ids in enumerate(prompts) if len(ids) <= LONGEST_PROMPT]
    return Sheet([found[n] for n in short], [prompts[n] for n in short])


def checks(found: Sequence[Ask], written: Sequence[list[int]], seed: int, files: Words) -> Checks | None:
    """What the reader has to find in the questions written; None where no question is fair."""
    source, made = random.Random(seed), list[Check]()
    questions = [text.strip() for text in _plain(files.writer).decode_batch([list(ids) for ids in written])]
    passages: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for ask in found:
        passages[ask.doc].setdefault(ask.shown, words(ask.shown))
    for ask, question in zip(found, questions, strict=True):
        if not is_fair(question, ask):
            continue
        if ask.holds:
            made.append(Check("altered" if ask.changed else "asked", question, ask.told, ask))
        if ask.changed and ask.changed.lower() in question.lower():
            made.append(Check("original", question, ask.shown, ask, len(made) - 1))
        elif not ask.holds:
            made.append(Check("foreign", question, ask.shown, ask))
        elif not ask.changed and source.random() < NEIGHBOURS and (other := _alike(question, ask, passages[ask.doc])):
            made.append(Check("neighbour", question, other, ask, len(made) - 1))
    if not made:
        return None
    return Checks(made, reading.encode([(check.question, check.passage) for check in made], _pairs(files.reader)))


def is_fair(question: str, ask: Ask) -> bool:
    """Whether a question can be asked of a whole book: it is one, does not hold its answer, and shares words with its
    passage."""
    return (
        question.endswith("?") and 4 <= len(question.split()) <= MOST_WORDS
        and len(words(question) & words(ask.told)) >= 2 and ask.answer.lower() not in question.lower()
    )


def _alike(question: str, ask: Ask, passages: dict[str, set[str]]) -> str | None:
    """The other passage that shares most words with a question, if it shares some and lacks the answer."""
    asked = words(question)
    others = [(len(asked & has), passage) for passage, has in passages.items()
              if passage != ask.shown and ask.answer.lower() not in passage.lower()]
    shared, best = max(others, default=(0, ""))
    return best if shared >= 2 else None


def judged(found: Checks, said: Sequence[reading.Read]) -> Iterator[Row]:
    """The rows of the checks that came out well, without their ids."""
    well: list[bool] = []
    for check, each in zip(found.checks, said, strict=True):
        span = check.passage[each.start : each.end]
        if check.answerable:
            well.append(each.sure >= SURE and len(sentences(span)) == 1 and agree(span, check.ask.answer))
        else:
            well.append(each.sure <= UNSURE and (check.after < 0 or well[check.after]))
        if well[-1]:
            yield {"doc": f"{check.ask.doc}, altered" if check.kind == "altered" else check.ask.doc,
                   "context": check.passage, "question": check.question, "qtype": check.kind,
                   "answers": [span] if check.answerable else [], "unanswerable": not check.answerable}


def agree(one: str, other: str) -> bool:
    """Whether two spans are about the same answer."""
    same = f1(one, other)
    a, b = sorted((normalise(one), normalise(other)), key=len)
    return same >= AGREES or (same >= AGREES_INSIDE and a in b)


def write(writer: Teacher, reader: reading.Reader, texts: Iterator[Run], files: Words, pool: Executor, seed: int,
          seconds: float, batch: int, together: int = 160) -> Iterator[Row]:
    """Rows with questions about runs of texts, until the time is over. writer and reader: tuned. pool: draws what to
    ask and makes checks while the models are at work. batch: questions written side by side; together: runs of a
    sheet."""
    done: dict[str, float] = defaultdict(float)  # questions of each kind, and seconds
    began = time.monotonic()
    source = torch.Generator(writer.embed.device).manual_seed(seed)
    continued = Continuer(writer, batch, LONGEST_PROMPT + LONGEST_QUESTION)
    parts = ((list(itertools.islice(texts, together)), seed * 1_000_003 + n, files) for n in itertools.count())
    waiting: deque[Future[Checks | None]] = deque()
    for n, sheet in enumerate(_ahead(pool, parts)):
        if n and time.monotonic() - began > seconds:
            break
        at = time.monotonic()
        written = continued(sheet.prompts, LONGEST_QUESTION, TEMPERATURE, source, ENOUGH)
        done["told"] += len(written)
        done["writing"] += time.monotonic() - at
        waiting.append(pool.submit(checks, sheet.asks, written, seed + n, files))
        if len(waiting) > 2:
            yield from _read(reader, waiting.popleft(), done)
        if n % 8 == 0:
            print(json.dumps(done | {"seconds": time.monotonic() - began}), flush=True)
    while waiting:
        yield from _read(reader, waiting.popleft(), done)
    print(json.dumps(done | {"seconds": time.monotonic() - began}), flush=True)


def _read(reader: reading.Reader, made: Future[Checks | None], done: dict[str, float]) -> Iterator[Row]:
    """The reader's judgement of some checks."""
    if found := made.result():
        at = time.monotonic()
        for check in found.checks:
            done[check.kind] += 1
        said = reading.read(reader, found.pairs)
        done["reading"] += time.monotonic() - at
        yield from judged(found, said)


def _ahead(pool: Executor, parts: Iterable[tuple[list[Run], int, Words]], depth: int = 8) -> Iterator[Sheet]:
    """Sheets in order, so many of them drawn ahead."""
    drawn: deque[Future[Sheet]] = deque()
    for part in parts:
        if not part[0]:
            break
        drawn.append(pool.submit(draw, *part))
        if len(drawn) >= depth:
            yield drawn.popleft().result()
    while drawn:
        yield drawn.popleft().result()


def named(found: Iterator[Row], seed: int) -> Iterator[Row]:
    """Rows with ids, each question about a passage once."""
    seen: set[tuple[str, str]] = set()
    for row in found:
        if (key := (row["context"], row["question"].lower())) not in seen:
            seen.add(key)
            yield {"id": f"written-{seed}-{len(seen)}"} | row


def save(found: Iterator[Row], folder: Path, seed: int) -> dict[str, int]:
    """Write rows as corpus files (`qa-written-*.jsonl.zst`) of up to `FILE_ROWS` rows; returns how many there were of
    each kind."""
    import zstandard

    counts, part = dict.fromkeys(KINDS, 0), 0
    while rows := list(itertools.islice(found, FILE_ROWS)):
        out = folder / f"qa-written-{seed}-{part}.jsonl.zst"
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        out.with_suffix(".part").write_bytes(zstandard.ZstdCompressor(15).compress(lines.encode()))
        out.with_suffix(".part").rename(out)
        for row in rows:
            counts[row["qtype"]] += 1
        part += 1
    return counts


@cache
def _plain(file: Path) -> Any:
    return plain_tokenizer(file)


@cache
def _pairs(file: Path) -> Any:
    return reading.read_tokenizer(file)
