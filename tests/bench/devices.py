"""`mini` on the device that `$ONCEREAD_DEVICE` names, beside the CPU: answers, the next token's logits, and speed.

Both read the sample book through the app and are asked the same questions, greedily, with evidence and from the state
alone. Where the answers part, the reason may be rounding: the logits behind the book say how far apart they are.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from app import dialogue, library, reading, session
from app.home import Home
from app.settings import Settings
from model.sampling import Sampling

SAMPLE = Path(__file__).parents[2] / "ui" / "sample.txt"
QUESTIONS = ("Who is the story about?", "Where does the story take place?", "How does the story end?")
TOKENS = 100_000
"""Of the text whose reading is timed on the device: the sample book, repeated."""
WRITTEN = 64


@dataclass(frozen=True)
class Said:
    """speed: tokens a second of the sample book; logits float32 [vocabulary] behind it; an answer to each question, by
    evidence."""

    speed: float
    logits: Tensor
    answers: dict[tuple[str, str], str]


def run() -> Iterator[str]:
    """Read and ask on both; yields the lines of Markdown tables as they come."""
    device = os.environ.get("ONCEREAD_DEVICE", "cpu")
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(Settings.from_environment(), home=Path(folder) / "device", database=None)
        home = Home(settings)
        yield f"model {settings.model_name} in {home.engine.dtype}"
        _said(home)  # compiles what it needs
        found = _said(home)
        yield from ("", f"| on {device} | tokens/s |", "|---|---|", f"| reads the sample book | {found.speed:,.0f} |")
        yield from _alone(home)
        home.close()
        other = Home(replace(settings, home=Path(folder) / "cpu", device="cpu"))
        expected = _said(other)
        yield f"| the CPU reads the sample book | {expected.speed:,.0f} |"
        other.close()
    likely, theirs = expected.logits.log_softmax(-1), found.logits.log_softmax(-1)
    yield f"\nKL of the next token behind the book: {float((likely.exp() * (likely - theirs)).sum()):.2e}"
    yield from ("", f"| question, evidence | on {device} as on the CPU | |", "|---|---|---|")
    for key, answer in expected.answers.items():
        same = found.answers[key] == answer
        said = answer if same else f"CPU: {answer} {device}: {found.answers[key]}"
        yield f"| {', '.join(key)} | {'yes' if same else 'no'} | {said} |"


def _said(home: Home) -> Said:
    """Read the sample book anew, and ask."""
    document = library.add(home, [SAMPLE]).id
    began = time.perf_counter()
    result, state = reading.read_state(home, document)
    seconds = time.perf_counter() - began
    logits = home.engine.next_logits(state, dialogue.question_ids(home.engine, (), QUESTIONS[0]))[1].cpu()
    answers = {}
    for question in QUESTIONS:
        for name, evidence in (("with evidence", None), ("from the state alone", 0)):
            *_, answer = session.ask(
                home, document, question, sampling=Sampling(max_tokens=WRITTEN), keep=False, evidence=evidence
            )
            assert isinstance(answer, session.Answer)
            answers[question, name] = " ".join(answer.raw.split())
    library.remove(home, document)
    return Said(result.tokens_read / seconds, logits, answers)


def _alone(home: Home) -> Iterator[str]:
    """The engine's own speed, nothing saved: reading TOKENS, and writing behind them."""
    engine = home.engine
    ids = engine.tokenizer.encode(SAMPLE.read_text("utf-8"))
    ids = (ids * (TOKENS // len(ids) + 1))[:TOKENS]
    for _ in range(2):  # what only long texts need is compiled in the first
        began = time.perf_counter()
        state = engine.read(engine.empty(), ids)
        _finish(engine.device)
        seconds = time.perf_counter() - began
    yield f"| reads {TOKENS:,}, nothing saved | {TOKENS / seconds:,.0f} |"
    for _ in range(2):
        began = time.perf_counter()
        written = len(list(engine.generate(state, ids[:4], Sampling(max_tokens=WRITTEN))))
        seconds = time.perf_counter() - began
    yield f"| writes behind them | {written / seconds:,.0f} ({written} tokens) |"


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
