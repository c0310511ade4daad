"""Questions that no annotator wrote: a copy of the teacher learns to ask and to answer, and asks about any text.

Told a span of a passage it writes a question for it (Du et al., 2017, arXiv 1705.00106); then it answers that question
without being told the span, and what it answers otherwise is dropped (round-trip consistency: Alberti et al., 2019,
arXiv 1906.05416). What is left are rows like those of the question files, passage by passage in a text's order.
"""

from __future__ import annotations

import io
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.training import clozes, near_miss
from model.training.continuing import continuations
from model.training.data import Conversations
from model.training.evaluate import f1
from model.training.loop import learning_rate
from model.training.loss import ce_loss
from model.training.optimizer import Optimizer
from model.training.pools import Pools, Row
from model.training.quotes import sentences, words
from model.training.teacher import IM_END, IM_START, Teacher

ASK = "{context}\n\nWrite a question that is answered by: {answer}"
ANSWER = "{context}\n\nQuestion: {question}"
NONE = "unanswerable"
"""What the copy answers where the passage does not."""
MOST_WORDS = 30
LONGEST_LESSON = 1024
"""Tokens."""
_RUN = re.compile(r"(?=\b((?:\w[\w'-]* ){1,5}\w[\w'-]*))")
AGREES = 0.7
"""F1 of what it answers and the span it asked about, at least."""
STRETCH, SHORTEST, LONGEST = 12_000, 300, 900
"""Characters of a text that is asked about, and of the passages it is cut into."""


def lessons(pools: Pools, tokenizer: Any, count: int, out: Path) -> int:
    """Write `count` lessons (prompt and reply, half asking, half answering) to an .npz, as task files are; returns how
    many tokens they have."""
    ids: list[int] = []
    reply: list[bool] = []
    lengths: list[int] = []
    while len(lengths) < count:
        said, wanted = lesson(pools)
        before, after = prompt(said, tokenizer), [*_plain(wanted, tokenizer), IM_END]
        if len(before) + len(after) <= LONGEST_LESSON:
            ids += before + after
            reply += [False] * len(before) + [True] * len(after)
            lengths.append(len(before) + len(after))
    np.savez(out, ids=np.array(ids, dtype=np.uint16), reply=np.array(reply), lengths=np.array(lengths, dtype=np.int32))
    return len(ids)


def lesson(pools: Pools) -> tuple[str, str]:
    """What is said, and the reply to learn."""
    source = pools.random
    row = source.choice(pools.of_context[pools.context()])
    question, answer = row["question"].strip(), row["answers"][0].strip()
    if source.random() < 0.5:
        return ASK.format(context=row["context"], answer=answer), question
    missed = near_miss.make(question, row["context"], pools.names[row["doc"]], source)
    if missed and source.random() < 0.25:
        return ANSWER.format(context=row["context"], question=missed), NONE
    return ANSWER.format(context=row["context"], question=question), answer


def tune(teacher: Teacher, lessons_file: Path, seconds: float, tokens: int, lr: float = 3e-4) -> tuple[Teacher, float]:
    """A copy of the teacher that has learned from the lessons for some seconds (one step at least), and its last loss.
    tokens: in a step."""
    writer = teacher.twin()
    training = teacher.twin().requires_grad_(True)
    if training.embed.is_cuda:
        training.compile_layers()  # the writer is not: its rows are of every length
    optimizer = Optimizer(training, muon=False)
    batches = Conversations([lessons_file], tokens, 0, training.embed.device.type)
    started, step, loss = time.monotonic(), 0, 0.0
    while (gone := (time.monotonic() - started) / seconds) < 1 or not step:
        ids, pack, target = batches.step(step)
        now = ce_loss(training(ids, pack), training.embed, target)
        now.backward()
        optimizer.step(learning_rate(gone, [lr, lr / 20], 0.05))
        step += 1
        if step % 50 == 1:
            loss = float(now.detach())
            facts = {"phase": "writer", "step": step, "seconds": round(gone * seconds, 1), "loss": loss}
            print(json.dumps(facts), flush=True)
    writer.load_state_dict(training.state_dict())
    return writer, loss


def score(writer: Teacher, rows: Sequence[Row], tokenizer: Any, batch: int) -> float:
    """Mean F1 in per cent of a tuned copy on answerable rows, given the passage: how good its own answers are."""
    rows = [row for row in rows if not row["unanswerable"]]
    prompts = [prompt(ANSWER.format(context=row["context"], question=row["question"]), tokenizer) for row in rows]
    said = [tokenizer.decode(ids) for ids in continuations(writer, prompts, 24, batch)]
    best = [max(f1(text, gold) for gold in row["answers"]) for text, row in zip(said, rows, strict=True)]
    return 100 * sum(best) / max(len(best), 1)


def passages(text: str, name: str, source: random.Random) -> Iterator[Row]:
    """A stretch of a text cut into passages of whole sentences, in order, each a row without a question yet."""
    start = source.randrange(max(len(text) - STRETCH, 1))
    stretch, size = text[start : start + STRETCH], source.randrange(SHORTEST, LONGEST)
    begin, end = -1, 0
    for sentence in sentences(stretch)[1 if start else 0 :]:
        at = stretch.find(sentence, end)
        if begin >= 0 and at + len(sentence) - begin > size:
            yield {"context": stretch[begin:end], "doc": name, "unanswerable": False}
            begin, size = -1, source.randrange(SHORTEST, LONGEST)
        begin, end = at if begin < 0 else begin, at + len(sentence)


def write(
    writer: Teacher, texts: Sequence[tuple[str, str]], tokenizer: Any, source: random.Random, seconds: float, batch: int
) -> Iterator[Row]:
    """Rows with questions about texts (each a name and its words), until the time is over. writer: a tuned copy."""
    started, number = time.monotonic(), 0
    while time.monotonic() - started < seconds:
        asked: list[Row] = []
        while len(asked) < batch:
            name, text = source.choice(texts)
            for row in passages(text, f"{name}-{number}-{len(asked)}", source):
                asked += [row | {"answers": [answer]} for answer in spans(row["context"], source)]
        number += 1
        yield from kept(writer, asked, tokenizer, batch, number)


def kept(writer: Teacher, asked: Sequence[Row], tokenizer: Any, batch: int, seed: int) -> Iterator[Row]:
    """The rows for which the writer finds a question that it answers as asked."""
    prompts = [prompt(ASK.format(context=row["context"], answer=row["answers"][0]), tokenizer) for row in asked]
    drawn = continuations(writer, prompts, 40, batch, temperature=0.8, seed=seed)
    questions = [tokenizer.decode(ids).strip() for ids in drawn]
    fair = [n for n, question in enumerate(questions) if is_fair(question, asked[n])]
    prompts = [prompt(ANSWER.format(context=asked[n]["context"], question=questions[n]), tokenizer) for n in fair]
    for n, ids in zip(fair, continuations(writer, prompts, 24, batch), strict=True):
        if f1(tokenizer.decode(ids), asked[n]["answers"][0]) >= AGREES:
            yield asked[n] | {"question": questions[n], "id": f"written-{seed}-{n}"}


def spans(passage: str, source: random.Random) -> list[str]:
    """Up to three spans of different sentences that can be asked for: names, numbers, words, and runs of up to six
    words without small ones at their ends."""
    usable = clozes.usable(passage)
    found = []
    for sentence in source.sample(usable, min(len(usable), 3)):
        span = clozes.span_of(sentence, source)
        if source.random() < 0.4:
            runs = [m for m in _RUN.finditer(sentence) if words(m[1].split()[0]) and words(m[1].split()[-1])]
            found += [source.choice(runs)[1]] if runs else []
        elif span:
            found.append(span[0])
    return found


def is_fair(question: str, row: Row) -> bool:
    """Whether a question can be asked of a whole book: it is one, does not hold its answer, and shares words with its
    passage."""
    count = len(question.split())
    shared = words(question) & words(row["context"])
    return (
        question.endswith("?") and 4 <= count <= MOST_WORDS and len(shared) >= 2
        and row["answers"][0].lower() not in question.lower()
    )


def prompt(said: str, tokenizer: Any) -> list[int]:
    """A turn of the user's, and the opening of the reply."""
    return [IM_START, *_plain(f"user\n{said}", tokenizer), IM_END, *_plain("\n", tokenizer), IM_START,
            *_plain("assistant\n", tokenizer)]


def save(rows: Iterator[Row], out: Path) -> int:
    """Write rows as a corpus file (`.jsonl.zst`); returns how many there were."""
    import zstandard

    count = 0
    unfinished = out.with_suffix(".part")
    with unfinished.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packed:
        lines = io.TextIOWrapper(packed, encoding="utf-8", write_through=True)
        for row in rows:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
        lines.flush()
    unfinished.rename(out)
    return count


def _plain(text: str, tokenizer: Any) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)
