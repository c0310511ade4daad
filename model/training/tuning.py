"""The writer and the reader of new questions learn their lessons."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from model.training import reader as reading
from model.training.data import Conversations
from model.training.evaluate import f1
from model.training.loop import learning_rate
from model.training.loss import ce_loss
from model.training.optimizer import Optimizer
from model.training.packing import Pack, make_pack, send
from model.training.pools import Row
from model.training.ranks import Ranks
from model.training.teacher import Teacher

Learned = TypeVar("Learned", bound=reading.Reader)
OWN = 0.3
"""What counts of the right answers where mentors say theirs."""
LAYERS = 0.3
"""How long a reader learns from a mentor's layers, too, as a share of its time."""
ALIKE = 8192
"""Lessons among which those of like lengths come into one row."""


def writer(teacher: Teacher, lessons: Sequence[Path], seconds: float, tokens: int, passes: float,
           lr: float = 3e-4) -> Teacher:
    """A copy of the teacher that has learned to ask for some seconds (one step at least), or so many passes through its
    lessons. tokens: of a step."""
    training = teacher.twin().requires_grad_(True)
    if training.embed.is_cuda:
        training.compile_layers()
    optimizer = Optimizer(training, muon=False)
    batches = Conversations(list(lessons), tokens, 0, training.embed.device.type)

    def learn(step: int, _: float) -> Tensor:
        ids, pack, target = batches.step(step)
        return ce_loss(training(ids, pack), training.embed, target)

    _run("writer", learn, optimizer, seconds, lr, passes, len(batches.bins), Ranks())
    written = teacher.twin()  # not compiled: what it reads later is of every length
    written.load_state_dict(training.state_dict())
    return written


def reader(start: Learned, lessons: Sequence[Path], seconds: float, tokens: int, passes: float, lr: float,
           mentors: Sequence[reading.Reader] = (), bits: Mapping[str, int] | None = None, ranks: Ranks | None = None
           ) -> Learned:
    """The encoder, after it has learned to read for some seconds (one step at least), or so many passes through its
    lessons; with mentors more from what they say of each than from what is right, and where the first of them has as
    many layers from those, too (Jiao et al., 2020, arXiv 1909.10351), for the first part of its time (`LAYERS`).
    tokens: of a step, of each rank. bits: of each parameter that is not stored plainly, if any: it learns on them."""
    ranks, training = ranks or Ranks(), start.train()
    batches = Examples(lessons, tokens, training.embed.device)
    by_layer = bool(mentors) and mentors[0].sizes[0] == start.sizes[0]
    if training.embed.is_cuda:
        training.compile_layers()
    ranks.average([p.data for p in training.parameters()])  # as they begin they are all but the same: now they are
    optimizer = Optimizer(training, muon=False, bits=(bits or {}).get, grid=bool(bits))
    optimizer.publish()
    heard: dict[int, list[Tensor]] = {}

    def learn(step: int, ended: float) -> Tensor:
        ids, kinds, pack, first, last = batches.step(step)
        states = training.states(ids, kinds, pack)
        scores = training.scores(states[-1], kinds, pack)
        own = reading.loss(scores, pack, first, last)
        if not mentors:
            return own
        layers, row = by_layer and ended < LAYERS, step % len(batches.rows)
        total = OWN * own
        with torch.no_grad():
            above = mentors[0].states(ids, kinds, pack) if layers else []
            if row not in heard:
                one = mentors[0].scores(above[-1], kinds, pack) if layers else mentors[0](ids, kinds, pack)
                heard[row] = [one, *(mentor(ids, kinds, pack) for mentor in mentors[1:])]
        if layers:
            total = total + reading.unlike(states, above, pack, first)
        return total + (1 - OWN) * reading.soft_loss(scores, heard[row], pack, first)

    _run("reader", learn, optimizer, seconds, lr, passes, len(batches.rows), ranks)
    return cast(Learned, start.twin().eval())


def _run(name: str, learn: Callable[[int, float], Tensor], optimizer: Optimizer, seconds: float, lr: float,
         passes: float, steps: int, ranks: Ranks) -> None:
    """Steps for some seconds, which begin when the first step is over (it compiles), or so many passes; the rate warms
    up and falls. steps: of a pass."""
    ended, step, losses = 0.0, 0, []
    began = time.monotonic()
    while not step or ended < 1:
        loss = learn(step, ended)
        loss.backward()
        ranks.average([p.grad for p in optimizer.params.values() if p.grad is not None])
        optimizer.step(learning_rate(max(ended, 0.01), [lr, lr / 20], 0.05))
        losses.append(loss.detach())
        step += 1
        if step == 1:
            began, first = time.monotonic(), time.monotonic() - began
        if step % 50 == 0:
            mean = float(torch.stack(losses[-50:]).mean())
            facts = {"phase": name, "step": step, "passes": round(step / steps, 2), "loss": round(mean, 4),
                     "seconds": round(time.monotonic() - began, 1), "first": round(first, 1)}
            print(json.dumps(facts), flush=True)
        ended = ranks.agree(max((time.monotonic() - began) / seconds, step / (passes * steps)))


class Examples:
    """Lessons in reading, in one seeded order, packed into rows of `tokens`, those of like lengths together: a mentor
    pads them. What fills a row up counts for nothing."""

    def __init__(self, files: Sequence[Path], tokens: int, device: torch.device, seed: int = 0) -> None:
        loaded = [np.load(file) for file in files]
        names = ("ids", "kinds", "lengths", "first", "last")
        self.ids, self.kinds, self.lengths, self.first, self.last = (
            np.concatenate([each[name] for each in loaded]) for name in names)
        self.starts = np.concatenate(([0], np.cumsum(self.lengths)))
        self.tokens, self.device = tokens, device
        self.rows: list[list[int]] = [[]]
        room = tokens
        shuffled = np.random.default_rng(seed)
        order = shuffled.permutation(len(self.lengths))
        for some in (order[n : n + ALIKE] for n in range(0, len(order), ALIKE)):
            for n in some[np.argsort(self.lengths[some], kind="stable")].tolist():
                if self.lengths[n] > room:
                    self.rows.append([])
                    room = tokens
                self.rows[-1].append(n)
                room -= int(self.lengths[n])
        shuffled.shuffle(self.rows)

    def step(self, index: int) -> tuple[Tensor, Tensor, Pack, Tensor, Tensor]:
        """ids and kinds [T], their pack, and the first and last token of each answer as places in the row [N]; -1 for
        what fills the row."""
        chosen = self.rows[index % len(self.rows)]
        lengths = [int(self.lengths[n]) for n in chosen]
        rest = self.tokens - sum(lengths)
        more = [min(reading.PLACES, rest - n) for n in range(0, rest, reading.PLACES)]
        parts = [slice(self.starts[n], self.starts[n + 1]) for n in chosen]
        ids, kinds = (np.concatenate([*(t[part] for part in parts), np.zeros(rest, t.dtype)])
                      for t in (self.ids, self.kinds))
        begin = np.cumsum([0, *lengths])[:-1]
        spans = [np.append(begin + t[chosen], [-1] * len(more)) for t in (self.first, self.last)]
        all_of_it = [send(torch.from_numpy(t.astype(np.int64)), self.device) for t in (ids, kinds, *spans)]
        return all_of_it[0], all_of_it[1], make_pack(lengths + more, self.device), all_of_it[2], all_of_it[3]


def read_scores(model: reading.Reader, rows: Sequence[Row], tokenizer: Any) -> dict[str, float]:
    """F1 in per cent on answerable rows, whatever the reader thinks of no answer; with unanswerable ones among them,
    the area under the curve of its sureness, and which sureness 5, 10, 20 and 50 per cent of each kind do not reach."""
    said = reading.read(model, reading.encode([(row["question"], row["context"]) for row in rows], tokenizer))
    best = [max(f1(row["context"][each.start : each.end], gold) for gold in row["answers"])
            for each, row in zip(said, rows, strict=True) if not row["unanswerable"]]
    facts = {"rows": float(len(rows)), "f1": round(100 * sum(best) / max(len(best), 1), 2)}
    yes, no = (np.array([each.sure for each, row in zip(said, rows, strict=True) if row["unanswerable"] is kind])
               for kind in (False, True))
    for name, some in (("answerable", yes), ("unanswerable", no)):
        if len(some):
            facts |= {f"{name}_{q}": round(float(np.quantile(some, q / 100)), 2) for q in (5, 10, 20, 50)}
    if len(yes) and len(no):
        facts["auc"] = round(float((yes[:, None] > no[None]).mean()), 4)
    return facts
