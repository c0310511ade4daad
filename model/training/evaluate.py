"""What the student can do: cross-entropy and KL by length on held-out books, and answers on held-out questions.

Answers are greedy, many questions at once. There is no cache: every new token reads its whole row again, packed. That
is simple, and quick enough on a GPU; scores of the shipped weights come from the shipped path instead.
"""

from __future__ import annotations

import json
import lzma
import re
import string
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.pointer import NEVER
from model.training.data import moved
from model.training.loop import perplexities
from model.training.packing import make_pack
from model.training.reader import LONGEST_ANSWER
from model.training.spans import Marked
from model.training.student import Student
from model.training.tasks import PromptForm, Sample, Turn, asked, encode
from model.training.teacher import IM_END, Teacher


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of an evaluation file (`.jsonl.xz`)."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def normalise(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single blanks."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(answer: str, gold: str) -> float:
    """Word-overlap F1 of two answers after normalisation."""
    mine, theirs = normalise(answer).split(), normalise(gold).split()
    if not mine or not theirs:
        return float(mine == theirs)
    same = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * same / (len(mine) + len(theirs))


def by_length(student: Student, teacher: Teacher, ids: Tensor, lengths: list[int]) -> dict[str, float]:
    """Cross-entropy and KL on the same tokens [T] cut into windows of each length."""
    result: dict[str, float] = {}
    for length in lengths:
        rows = ids[: len(ids) // length * length].view(-1, length)
        sums: dict[str, float] = defaultdict(float)
        per_call = min(max(1, 32_768 // length), len(rows))
        rows = rows[: len(rows) // per_call * per_call]
        for part in rows.split(per_call):
            target = torch.full_like(part, -1)
            target[:, :-1] = part[:, 1:]
            pack = make_pack([length] * len(part), ids.device)
            for name, value in perplexities(student, teacher, (part.flatten(), pack, target.flatten())).items():
                sums[name] += value * len(part) / len(rows)
        result |= {f"{name}_{length}": value for name, value in sums.items()}
    return result


@torch.no_grad()
def generate(student: Student, prompts: list[list[int]], most: int, tokens: int) -> list[list[int]]:
    """Greedy continuations of all prompts, packed into rows of `tokens` at each step, until <|im_end|>."""
    device = student.embed.device
    replies: list[list[int]] = [[] for _ in prompts]
    alive = list(range(len(prompts)))
    for _ in range(most):
        rows: list[list[int]] = [[]]
        room = tokens
        for i in alive:
            need = len(prompts[i]) + len(replies[i])
            if need > room:
                rows.append([])
                room = tokens
            rows[-1].append(i)
            room -= need
        for row in rows:
            ids = [t for i in row for t in (*prompts[i], *replies[i])]
            lengths = [len(prompts[i]) + len(replies[i]) for i in row]
            lengths += [tokens - sum(lengths)] * (sum(lengths) < tokens)
            flat = torch.tensor(ids + [0] * (tokens - len(ids)), device=device)
            last = torch.tensor(lengths, device=device).cumsum(0)[: len(row)] - 1
            best = F.linear(student(flat, make_pack(lengths, device))[last], student.embed).argmax(-1)
            for i, token in zip(row, best.tolist(), strict=True):
                replies[i].append(token)
        alive = [i for i in alive if replies[i][-1] != IM_END]
        if not alive:
            break
    return replies


def prompt_ids(row: dict[str, Any], form: PromptForm, tokenizer: Any) -> list[int]:
    """A question row as the model sees it, up to the place where its reply begins."""
    ids, reply, _ = encode(Sample(row["context"], [Turn(row["question"], "", "")]), form, tokenizer)
    return ids[: reply.index(True)]


def answer_scores(student: Student, rows: list[dict[str, Any]], form: PromptForm, tokenizer: Any, tokens: int,
                  most: int = 110) -> dict[str, float]:
    """Scores of the student's greedy answers to question rows (see `score`)."""
    replies = generate(student, [prompt_ids(row, form, tokenizer) for row in rows], most, tokens)
    return score(rows, [tokenizer.decode([t for t in r if t != IM_END]) for r in replies], form)


@torch.no_grad()
def pointed_scores(student: Student, rows: list[dict[str, Any]], form: PromptForm, tokenizer: Any, tokens: int
                   ) -> dict[str, float]:
    """F1 in per cent of the words that the pointer finds likeliest in each answerable row's passage, whatever it thinks
    of no answer; with unanswerable rows among them, the area under the curve of its sureness. tokens: of a row."""
    given = [_pointed(row, form, tokenizer) for row in rows]
    sums: dict[bool, list[float]] = {True: [], False: []}
    found: list[float] = []
    student.eval()
    for part in _parts([len(ids) for ids, *_ in given], tokens):
        places = np.cumsum([0, *(len(given[n][0]) for n in part)])
        marked = [moved(np.array(given[n][1]), at) for n, at in zip(part, places[:-1], strict=True)]
        marks = torch.from_numpy(np.stack(marked))
        rest = [tokens - int(places[-1])] if places[-1] < tokens else []
        pack = make_pack([len(given[n][0]) for n in part] + rest, student.embed.device, marks)
        ids = [token for n in part for token in given[n][0]] + [0] * sum(rest)
        assert student.pointer
        scores = student.pointer(*student.states(torch.tensor(ids, device=student.embed.device), pack), pack).cpu()
        for n, own in zip(part, scores.split([int(at - begin) + 1 for begin, *_, at in marks.tolist()]), strict=True):
            (_, mark, offsets), row = given[n], rows[n]
            first, last = own[mark.first - mark.begin : mark.end - mark.begin].unbind(-1)
            totals = (first[:, None] + last).masked_fill(~torch.ones(len(first), len(first), dtype=torch.bool)
                                                         .triu().tril(LONGEST_ANSWER - 1), NEVER)
            best = divmod(int(totals.argmax()), len(first))
            words = row["context"][offsets[best[0]][0] : offsets[best[1]][1]]
            sums[row["unanswerable"]].append(float(totals.max() - own[-1].sum()))
            found += [] if row["unanswerable"] else [max(f1(words, gold) for gold in row["answers"])]
    student.train()
    facts = {"pointed": 100 * sum(found) / max(len(found), 1)}
    if sums[True] and sums[False]:
        yes, no = np.array(sums[False]), np.array(sums[True])
        facts["auc"] = float((yes[:, None] > no[None]).mean())
    return facts


def _pointed(row: dict[str, Any], form: PromptForm, tokenizer: Any) -> tuple[list[int], Marked, list[tuple[int, int]]]:
    """A row with its whole passage for evidence, up to the reply; where it stands; and which characters of the passage
    the evidence's tokens stand for."""
    turn = Turn(row["question"], form.not_found, "", row["context"])
    ids, _, (mark,) = encode(Sample(row["context"], [turn]), form, tokenizer)
    words = asked(turn, form)
    at, offsets = words.find(turn.shown), tokenizer.encode(words, add_special_tokens=False).offsets
    inside = [(max(a - at, 0), b - at) for a, b in offsets if a < at + len(turn.shown) and b > at]
    return ids[: mark.at + 1], mark, inside


def _parts(lengths: list[int], tokens: int) -> Iterator[list[int]]:
    """Numbers of sequences of these lengths, in rows of at most so many tokens."""
    part: list[int] = []
    room = tokens
    for n, length in enumerate(lengths):
        if length > room:
            yield part
            part, room = [], tokens
        part.append(n)
        room -= length
    yield part


def score(rows: list[dict[str, Any]], replies: list[str], form: PromptForm) -> dict[str, float]:
    """F1, exact match, unanswerable recognised, false refusals and verbatim quotes, each in per cent."""
    sums: dict[str, float] = defaultdict(float)
    for row, text in zip(rows, replies, strict=True):
        refused = text.strip() == form.not_found
        if row["unanswerable"]:
            sums["unanswerable"] += 1
            sums["recognised"] += refused
            continue
        match = re.match(r'Quote: "(.*)"\nAnswer: (.*)', text, re.S)
        answer = match[2].strip() if match else ""
        sums["answerable"] += 1
        sums["refused"] += refused
        sums["f1"] += max((f1(answer, a) for a in row["answers"]), default=0.0)
        sums["exact"] += any(normalise(answer) == normalise(a) for a in row["answers"])
        if not refused:
            sums["replied"] += 1
            sums["verbatim"] += match is not None and match[1] in row["context"]
    n = max(sums["answerable"], 1)
    return {"n": len(rows), "f1": 100 * sums["f1"] / n, "exact": 100 * sums["exact"] / n,
            "false_refusals": 100 * sums["refused"] / n,
            "recognised": 100 * sums["recognised"] / max(sums["unanswerable"], 1),
            "verbatim": 100 * sums["verbatim"] / max(sums["replied"], 1)}
