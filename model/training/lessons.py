"""What the writer and the reader of new questions learn from: the question files' rows, as questions to ask for given
answers, and as questions whose answer is a span of a passage or is not in it."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np

from model.training import contrasts, invented
from model.training.pools import Pools, Row
from model.training.quotes import sentences, words
from model.training.teacher import IM_END, IM_START

ASK = "{context}\n\nWrite a question that is answered by: {answer}"
AGAIN = "Write a question that is answered by: {answer}"
"""What is said for the second answer about a passage, and for those that follow."""
SHARES = {"qa-squad-train": 0.5, "qa-shifts": 0.3, "qa-fairytale": 0.12, "qa-misc": 0.08}
"""How often a lesson comes from each question file."""
LONGEST = 1024
"""Tokens of a lesson in asking."""
AT_ONCE = 4096
"""Lessons in reading that are encoded at a time: what the tokenizer says of each takes much memory."""
LONGEST_PASSAGE = 2500
"""Characters."""
NEAR = 0.3
"""How often a lesson in reading is a question of `pools.NEAR`: as often one that is answered as one that is not."""
MADE_UP = 0.04
"""How often a lesson in reading is of made-up facts whose names are alike."""
CONTRASTED, MISSED = 0.5, 0.7
"""How often one of the others is of a contrast, and how often then of the question that is missed."""
UNANSWERABLE = 0.14
"""How often the others have no answer."""


def asking(pools: Pools, tokenizer: Any, tokens: int, out: Path) -> int:
    """Write lessons in asking to an .npz, as task files are, until there are so many tokens; returns how many lessons
    there are."""
    ids: list[int] = []
    reply: list[bool] = []
    lengths: list[int] = []
    while len(ids) < tokens:
        more, learned = list[int](), list[bool]()
        for said, wanted in conversation(pools):
            before, after = prompt(said, tokenizer, first=not more), [*plain(wanted, tokenizer), IM_END]
            more += before + after
            learned += [False] * len(before) + [True] * len(after)
        if 0 < len(more) <= LONGEST:
            ids += more
            reply += learned
            lengths.append(len(more))
    np.savez(out, ids=np.array(ids, dtype=np.uint16), reply=np.array(reply), lengths=np.array(lengths, dtype=np.int32))
    return len(lengths)


def conversation(pools: Pools) -> list[tuple[str, str]]:
    """What is said about a passage, and the question to learn for it: up to five of each."""
    found = [row for row in _rows(pools) if row["question"].strip().endswith("?")]
    pools.random.shuffle(found)
    return [((ASK if n == 0 else AGAIN).format(context=row["context"], answer=literal(row)), row["question"].strip())
            for n, row in enumerate(found[:5])]


def _rows(pools: Pools) -> list[Row]:
    """The rows of some passage whose answer stands in it."""
    kinds = {name: share for name, share in SHARES.items() if pools.contexts.get(name)}
    name = pools.random.choices(list(kinds), list(kinds.values()))[0]
    rows = pools.of_context[pools.random.choice(pools.contexts[name])]
    return [row for row in rows if literal(row) and len(row["context"]) <= LONGEST_PASSAGE]


def literal(row: Row) -> str:
    """The first of a row's answers that its passage has, or nothing."""
    return next((a for answer in row["answers"] if (a := answer.strip()) and a in row["context"]), "")


def prompt(said: str, tokenizer: Any, first: bool = True) -> list[int]:
    """A turn of the user's, and the opening of the reply. first: whether it is a conversation's first turn."""
    before = [] if first else plain("\n", tokenizer)
    return [*before, IM_START, *plain(f"user\n{said}", tokenizer), IM_END, *plain("\n", tokenizer), IM_START,
            *plain("assistant\n", tokenizer)]


def plain(text: str, tokenizer: Any) -> list[int]:
    """Token ids of a text."""
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def reading(pools: Pools, tokenizer: Any, count: int, out: Path, near: float = NEAR) -> int:
    """Write about `count` lessons in reading to an .npz: ids, kinds, lengths, and the first and last token of each
    answer (0: none); returns how many have an answer. tokenizer: the reader's; near: see NEAR."""
    found = [each for _ in range(count) if (each := example(pools, near))]
    ids, kinds, lengths, spans = [], [], [], []
    for some in (found[n : n + AT_ONCE] for n in range(0, len(found), AT_ONCE)):
        for (_, _, start, end), pair in zip(some, tokenizer.encode_batch([f[:2] for f in some]), strict=True):
            of_pair, kind_of = pair.ids, pair.type_ids
            inside = [n for n, (a, b) in enumerate(pair.offsets) if kind_of[n] and a < end and b > start]
            if start >= 0 and not inside:
                continue  # beyond what the reader reads
            ids.append(np.array(of_pair, dtype=np.uint16))
            kinds.append(np.array(kind_of, dtype=np.int8))
            lengths.append(len(of_pair))
            spans.append((inside[0], inside[-1]) if start >= 0 else (0, 0))
    first, last = np.array(spans, dtype=np.int32).T
    np.savez(out, ids=np.concatenate(ids), kinds=np.concatenate(kinds), lengths=np.array(lengths, dtype=np.int32),
             first=first, last=last)
    return int((first > 0).sum())


def example(pools: Pools, near: float = NEAR) -> tuple[str, str, int, int] | None:
    """A question, a passage, and where its answer stands in it (-1, -1: nowhere); None where none could be made."""
    source = pools.random
    if source.random() < MADE_UP:
        return _made_up(pools)
    if pools.missed and source.random() < near:
        return _near(pools)
    kind = source.random()
    if kind < CONTRASTED:
        return _contrasted(pools)
    kind = (kind - CONTRASTED) / (1 - CONTRASTED)
    if kind < 0.4 * UNANSWERABLE and pools.negatives:
        row = source.choice(pools.negatives[source.choice(list(pools.negatives))])
        return row["question"], row["context"], -1, -1
    rows = _rows(pools)
    if not rows:
        return None
    row = source.choice(rows)
    question, passage, answer = row["question"], row["context"], literal(row)
    if kind < 0.7 * UNANSWERABLE:
        cut = without(passage, answer)
        return (question, cut, -1, -1) if len(cut) > 60 else None
    if kind < UNANSWERABLE:
        other = _alike(row, pools, source)
        return (question, other, -1, -1) if other else None
    start = place(passage, question, answer)
    return question, passage, start, start + len(answer)


def _made_up(pools: Pools) -> tuple[str, str, int, int] | None:
    """An `example` of made-up facts of things whose names are alike, in a list of their own or within a passage."""
    source = pools.random
    facts = invented.alike(source.randrange(3, 25), source)
    lines = [said for said, _, _ in facts]
    if source.random() < 0.5:
        rows = _rows(pools)
        lines = lines[:6] if rows else lines
        for sentence in sentences(rows[0]["context"])[:8] if rows else []:
            lines.insert(source.randrange(len(lines) + 1), sentence)
    between = source.choice(("\n", "\n", " "))
    said, question, answer = source.choice([fact for fact in facts if fact[0] in lines])
    at = lines.index(said)
    if source.random() < UNANSWERABLE:
        return question, between.join(lines[:at] + lines[at + 1 :]), -1, -1
    before = between.join([*lines[:at], re.split(rf"\b{answer}\b", said)[0]])
    return question, between.join(lines), len(before), len(before) + len(answer)


def _near(pools: Pools) -> tuple[str, str, int, int] | None:
    """An `example` of a question that was written for it, or that its passage answers."""
    passage = pools.random.choice(pools.missed)["context"]
    pair = pools.pair(passage)
    if pair is None:
        return None
    row = pools.random.choice(pair)
    answer = literal(row)
    start = place(passage, row["question"], answer) if answer else -1
    return row["question"], passage, start, start + len(answer) if answer else -1


def _contrasted(pools: Pools) -> tuple[str, str, int, int] | None:
    """An `example` from a contrast."""
    rows, source = _rows(pools), pools.random
    if not rows:
        return None
    row = source.choice(rows)
    made = contrasts.make(row["question"], row["context"], literal(row), pools.names[row["doc"]], source)
    if made is None:
        return None
    if source.random() < MISSED:
        return made.missed, made.passage, -1, -1
    start = place(made.passage, made.answered, literal(row))
    return made.answered, made.passage, start, start + len(literal(row))


def place(passage: str, question: str, answer: str) -> int:
    """Where in a passage an answer stands: in the sentence that shares most words with the question."""
    asked = words(question)
    best = max((s for s in sentences(passage) if answer in s), key=lambda s: len(words(s) & asked), default="")
    return passage.find(best) + best.find(answer) if best else passage.find(answer)


def without(passage: str, answer: str) -> str:
    """A passage without the sentences that hold an answer."""
    return " ".join(s for s in sentences(passage) if answer.lower() not in s.lower())


def _alike(row: Row, pools: Pools, source: random.Random) -> str | None:
    """Of some other passages of the document that do not hold the answer, the one that shares most words with the
    question."""
    near, asked = pools.by_doc[row["doc"]], words(row["question"])
    others = [c for c in source.sample(near, min(len(near), 6))
              if len(c) <= LONGEST_PASSAGE and not any(a.lower() in c.lower() for a in row["answers"])]
    return max(others, key=lambda c: len(words(c) & asked), default=None)
