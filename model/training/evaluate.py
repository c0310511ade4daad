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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model.training.loop import perplexities
from model.training.packing import make_pack
from model.training.student import Student
from model.training.tasks import PromptForm, Sample, Turn, encode
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
    ids, reply = encode(Sample(row["context"], [Turn(row["question"], "", "")]), form, tokenizer)
    return ids[: reply.index(True)]


def answer_scores(student: Student, rows: list[dict[str, Any]], form: PromptForm, tokenizer: Any, tokens: int,
                  most: int = 110) -> dict[str, float]:
    """Scores of the student's greedy answers to question rows (see `score`)."""
    replies = generate(student, [prompt_ids(row, form, tokenizer) for row in rows], most, tokens)
    return score(rows, [tokenizer.decode([t for t in r if t != IM_END]) for r in replies], form)


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
