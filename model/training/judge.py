"""The teacher of the task samples: a copy of the teacher that has learned them first, as the student will.

What it gives a reply's words is softer than the words alone: which other answers were nearly right, and how sure one
can be (knowledge distillation: Hinton et al., 2015, arXiv 1503.02531).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from model.training.data import Conversations
from model.training.loss import task_loss
from model.training.optimizer import Optimizer
from model.training.packing import Pack
from model.training.ranks import Ranks
from model.training.teacher import Teacher

REACH = 4096
"""Tokens into a sequence up to which the teacher's word counts: it fails beyond 8k, and its copy learns from samples
that are no longer than this."""


def known(ids: Tensor, pack: Pack) -> Tensor:
    """Where the teacher can be believed [T]: not far into a sequence, and not in what fills up a row (id 0)."""
    return (pack.position < REACH) & (ids != 0)


def kept(teacher: Teacher, file: Path) -> Teacher | None:
    """The copy that an earlier part of the run has taught, frozen; None where there is none."""
    if not file.exists():
        return None
    return _frozen(teacher, torch.load(file, map_location=teacher.embed.device, weights_only=True))


def learned(teacher: Teacher, batches: Conversations, file: Path, seconds: float, lr: list[float], ranks: Ranks,
            note: Callable[..., None]) -> Teacher:
    """A copy of the teacher, frozen, that has learned task samples for some seconds (one step at least), kept in `file`
    for a run that goes on. It is held to the teacher everywhere but in the replies."""
    training = teacher.twin().requires_grad_(True)
    if training.embed.is_cuda:
        training.compile_layers()
    optimizer = Optimizer(training, muon=False)
    began, step, progress = time.perf_counter(), 0, 0.0
    while progress < 1 or not step:
        ids, pack, target = batches.step(step * ranks.world + ranks.rank)
        theirs = teacher(ids, pack)
        loss, means = task_loss(training(ids, pack), training.embed, target, theirs, teacher.embed,
                                known(ids, pack) & (target < 0))
        loss.backward()
        ranks.average([p.grad for p in training.parameters() if p.grad is not None])
        warm = min(1.0, (step + 1) / 20)
        optimizer.step(warm * (lr[1] + (lr[0] - lr[1]) * (1 - progress)))
        step += 1
        if step % 50 == 1:
            losses = {f"loss_{name}": float(value) for name, value in means.items()}
            note(phase="judge", step=step, seconds=progress * seconds, **losses)
        progress = ranks.agree((time.perf_counter() - began) / seconds)
    note(phase="judge", ended=step, tokens=step * batches.tokens * ranks.world, seconds=progress * seconds)
    if ranks.first:
        torch.save(training.state_dict(), file.with_suffix(".part"))
        file.with_suffix(".part").rename(file)
    return _frozen(teacher, training.state_dict())


def _frozen(teacher: Teacher, weights: dict[str, Tensor]) -> Teacher:
    judge = teacher.twin()
    judge.load_state_dict(weights)
    if judge.embed.is_cuda:
        judge.compile_layers()
    return judge
