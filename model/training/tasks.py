"""Task data: conversations over a document, in the exact words of the prompt form.

Each sample is a document (one passage, several, or a long one), one or more questions on it, and the replies to learn:
a verbatim quote and the answer, or the not-found sentence. Every question keeps its corpus row's id as provenance.
`drawing` draws the samples.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.training.data import plain_tokenizer
from model.training.teacher import IM_END, IM_START

if TYPE_CHECKING:
    from model.training.drawing import Builder

LONGEST = 16_384
"""Tokens of a sample."""


@dataclass(frozen=True)
class PromptForm:
    """The words of `app/prompts.py` (kept in prompts.json; a test holds the two equal)."""

    system: str
    not_found: str
    question: str
    """What follows the document; `{question}` is filled in."""
    shown: str
    """The same for a question that is asked with evidence; `{question}` and `{evidence}` are filled in."""
    reply: str
    """`{quote}` and `{answer}` are filled in."""
    options: str
    """What a question ends with that names its answers; `{options}` is filled in."""


def read_form(path: Path) -> PromptForm:
    """The form from a JSON file."""
    return PromptForm(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Turn:
    """A question and its reply. source: provenance. shown: evidence that is read with the question. given: how many of
    the reply's characters are put before the model and are not learned (a quote that was chosen for it)."""

    question: str
    reply: str
    source: str
    shown: str = ""
    given: int = 0


@dataclass
class Sample:
    """A conversation: the document, and the turns about it."""

    document: str
    turns: list[Turn] = field(default_factory=list)


def asked(turn: Turn, form: PromptForm) -> str:
    """The words that follow the document."""
    if turn.shown:
        return form.shown.format(question=turn.question.strip(), evidence=turn.shown)
    return form.question.format(question=turn.question.strip())


def encode(sample: Sample, form: PromptForm, tokenizer: Any) -> tuple[list[int], list[bool]]:
    """Token ids of a conversation, and which of them are to be learned: replies, with their end of turn."""
    def plain(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    ids = [IM_START, *plain(f"system\n{form.system}"), IM_END, *plain("\n"), IM_START, *plain("user\n"),
           *plain(sample.document)]
    learned = [False] * len(ids)
    for n, turn in enumerate(sample.turns):
        words = asked(turn, form)
        ahead = [] if n == 0 else [*plain("\n"), IM_START]
        words = words if n == 0 else "user\n" + words.lstrip("\n")
        before = [*ahead, *plain(words), IM_END, *plain("\n"), IM_START, *plain("assistant\n")]
        before += plain(turn.reply[: turn.given])
        after = [*plain(turn.reply[turn.given :]), IM_END]
        ids += before + after
        learned += [False] * len(before) + [True] * len(after)
    return ids, learned


def build(builder: Builder, tokenizer_file: Path, tokens: int, out: Path) -> dict[str, int]:
    """Write about `tokens` tokens of a builder's samples to an .npz (ids, reply, lengths); returns counts."""
    form, tokenizer = builder.form, plain_tokenizer(tokenizer_file)
    ids: list[int] = []
    reply: list[bool] = []
    lengths: list[int] = []
    counts: dict[str, int] = defaultdict(int)
    while len(ids) < tokens:
        sample = builder.draw()
        if not sample.turns:
            continue
        more, mask = encode(sample, form, tokenizer)
        if len(more) > LONGEST:
            continue
        ids += more
        reply += mask
        lengths.append(len(more))
        counts["replies"] += len(sample.turns)
        counts["shown"] += sum(bool(turn.shown) for turn in sample.turns)
        counts["not_found"] += sum(turn.reply == form.not_found for turn in sample.turns)
    unfinished = out.with_suffix(".part.npz")
    np.savez(unfinished, ids=np.array(ids, dtype=np.uint16), reply=np.array(reply),
             lengths=np.array(lengths, dtype=np.int32))
    unfinished.rename(out)
    return {**counts, "samples": len(lengths), "tokens": len(ids), "reply_tokens": sum(reply)}
