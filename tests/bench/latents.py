"""What latents in 8 bits (`ONCEREAD_ROUND_LATENTS=1`) do to what comes next, to answers, and to the room on the disk.

Any model: `$ONCEREAD_MODEL`. Next tokens: the text behind a book's first TOKENS, given to both states. Answers: ROWS
questions of each reading set about whole documents, as people ask them, of one document a set.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from app import latents, library, reading, session
from app.home import Home
from app.settings import Settings
from model.engine import Engine
from model.sampling import Sampling
from model.state import ModelState
from model.training.evaluate import f1, normalise, read_rows

ROOT = Path(__file__).parents[2]
EVAL = Path(os.environ.get("ONCEREAD_EVAL", ROOT.parent / "shared" / "eval"))
TOKENS = 16_384
BEHIND = 1024
ROWS = 24
DOCUMENTS = {"squad1": "Super_Bowl_50", "fairytale": "kari-woodencoat"}


def run() -> list[str]:
    """Measure; returns the lines of two Markdown tables."""
    settings = Settings.from_environment()
    with tempfile.TemporaryDirectory() as folder:
        homes = [
            Home(replace(settings, home=Path(folder) / str(rounded), round_latents=rounded))
            for rounded in (False, True)
        ]
        lines = [f"model {settings.model_name}", "", *_next_tokens(homes[0].engine, settings)]
        lines += ["", *_answers(homes)] if EVAL.is_dir() else []
        for home in homes:
            home.close()
    return lines


def _next_tokens(engine: Engine, settings: Settings) -> list[str]:
    books = EVAL / "books.jsonl.xz"
    text = read_rows(books)[0]["text"] if books.is_file() else (ROOT / "ui" / "sample.txt").read_text("utf-8")
    ids = engine.tokenizer.encode(text)[: TOKENS + BEHIND]
    if len(ids) < TOKENS + BEHIND:
        raise SystemExit(f"the text has {len(ids):,} tokens: use --tokens with fewer than {len(ids) - BEHIND:,}")
    states = []
    for rounded in (False, True):
        chosen = replace(settings, round_latents=rounded)
        before = 0
        for state in engine.read_chunks(engine.empty(), ids[:TOKENS]):
            latents.settle(state, chosen, before)
            before = state.tokens
        states.append(state)
    exact, off = (_log_probabilities(engine, state, ids[TOKENS:]) for state in states)
    kl = (exact.exp() * (exact - off)).sum(-1)
    same = (exact.argmax(-1) == off.argmax(-1)).float().mean()
    target = torch.tensor(ids[TOKENS + 1 :], device=exact.device)
    losses = [F.nll_loss(x[:-1], target).item() for x in (exact, off)]
    return [
        f"the {BEHIND:,} tokens behind the first {TOKENS:,} of a book:", "",
        "| | exact | 8 bits |", "|---|---|---|",
        f"| cross-entropy | {losses[0]:.4f} | {losses[1]:.4f} |",
        f"| KL from the exact distribution, mean; largest | | {kl.mean():.5f}; {kl.max():.4f} |",
        f"| likeliest token the same | | {same:.2%} |",
    ]


@torch.no_grad()
def _log_probabilities(engine: Engine, state: ModelState, ids: list[int]) -> Tensor:
    """Of every token after each of `ids`: float32 [T, vocabulary]."""
    hidden = engine.model(torch.tensor(ids, device=engine.device), state.fork())
    return engine.model.logits(hidden).float().log_softmax(-1)


def _answers(homes: list[Home]) -> list[str]:
    whole = {row["doc"]: row["text"] for row in read_rows(EVAL / "whole-documents.jsonl.xz")}
    lines = ["| set | questions | F1 exact | F1 8 bits | right exact | right 8 bits | the very same answer "
             "| bytes on the disk, 8 bits / exact |", "|---|---|---|---|---|---|---|---|"]
    for name, document in DOCUMENTS.items():
        rows = [row for row in read_rows(EVAL / f"reading-{name}.jsonl.xz") if row["doc"] == document]
        rows = rows[:: max(1, len(rows) // ROWS)][:ROWS]
        said = [_said(home, name, whole[document], [row["question"] for row in rows]) for home in homes]
        golds = [row["answers"] for row in rows]
        cells = [f"{100 * sum(map(_f1, each, golds)) / len(rows):.1f}" for each in said]
        cells += [str(sum(map(_holds, each, golds))) for each in said]
        same = sum(a == b for a, b in zip(*said, strict=True))
        share = homes[1].snapshots.bytes() / homes[0].snapshots.bytes()
        lines.append(f"| {name}, {document} | {len(rows)} | {' | '.join(cells)} | {same} | {share:.2f} |")
    return lines


def _f1(answer: str, golds: list[str]) -> float:
    return max(f1(answer, gold) for gold in golds)


def _holds(answer: str, golds: list[str]) -> bool:
    return any(normalise(gold) in normalise(answer) for gold in golds)


def _said(home: Home, name: str, text: str, questions: list[str]) -> list[str]:
    """The answers to questions about a text."""
    path = home.settings.home / f"{name}.txt"
    path.write_text(text, "utf-8")
    document = library.add(home, [path])
    reading.read(home, document.id)
    answers = []
    for question in questions:
        *_, answer = session.ask(home, document.id, question, sampling=Sampling(max_tokens=96), keep=False)
        assert isinstance(answer, session.Answer)
        answers.append(answer.answer if answer.found else "")
    return answers
