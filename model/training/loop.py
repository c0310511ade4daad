"""The training loop: phases of one plan, one after another in one process, so that kernels are compiled once.

A phase is a dict: `name`, `kind` (align, distill, text, tune; judge: see `judge`), `lr`
[start, end], `warmup` (share of the phase), `steps`, `seconds`, `until` (a Unix time) or `part` (of the run's time),
`tokens` a step, `length` of text windows, `files` (glob patterns of token arrays or task files), `seed`, `muon`, `grid`
(train against the stored grid), `fresh_moments`, `mix` (several sources: each a dict that overrides the phase's keys,
with its `share` of the steps), `needs` and `wait` (files to wait for), `race` (options to choose from). A checkpoint is
written after a phase and every `save_every` steps; `run` goes on from the last one. Under torchrun every rank takes
batches of its own (see `ranks`), so a step reads `tokens` a rank.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model.training.data import Conversations, Windows
from model.training.judge import REACH, kept, known, learned
from model.training.loss import ce_loss, kl_loss, task_loss
from model.training.mix import Mix
from model.training.optimizer import Optimizer
from model.training.packing import Pack
from model.training.ranks import Ranks
from model.training.student import Student, balance
from model.training.teacher import Teacher

Batch = tuple[Tensor, Pack, Tensor]
Losses = dict[str, Tensor]
JUDGE = "judge.pt"


def align_loss(student: Student, teacher: Teacher, spans: list[tuple[int, int]], batch: Batch) -> Tensor:
    """Backward through every layer by itself: from what the teacher's span of layers saw to what it gave.

    The error of a token is relative to how far the span moves it. Returns the mean loss; gradients are ready."""
    states = teacher.hidden_states(batch[0], batch[1])
    total = torch.zeros((), device=states[0].device)
    for layer, (first, last) in zip(student.layers, spans, strict=True):
        seen, wanted = states[first], states[last + 1]
        moved = (wanted - seen).float().square().mean(-1)
        error = (layer(seen, batch[1]) - wanted).float().square().mean(-1)
        loss = (error / (moved + moved.median())).mean()
        loss.backward()
        total += loss.detach()
    return total / len(student.layers)


def distill_loss(student: Student, teacher: Teacher, batch: Batch) -> Tensor:
    """Mean KL to the teacher over a packed row; gradients are ready."""
    target = teacher(batch[0], batch[1])
    loss = kl_loss(student(batch[0], batch[1]), student.embed, target, teacher.embed)
    loss.backward()
    return loss.detach()


def text_loss(student: Student, batch: Batch) -> Tensor:
    """Mean cross-entropy of the targets that are not ignored; gradients are ready."""
    loss = ce_loss(student(batch[0], batch[1]), student.embed, batch[2])
    loss.backward()
    return loss.detach()


def tune_loss(student: Student, judge: Teacher, batch: Batch, has_learned: bool) -> Losses:
    """Mean losses over a packed row of task samples (see `task_loss`); gradients are ready. has_learned: whether the
    judge has learned such samples; of one that has not, replies learn nothing."""
    ids, pack, target = batch
    theirs = judge(ids, pack)
    believed = known(ids, pack) & ((target < 0) | has_learned)
    loss, means = task_loss(student(ids, pack), student.embed, target, theirs, judge.embed, believed)
    loss.backward()
    return {"tune": means["ce"], "tune_kl": means["reply"], "tune_before": means["before"]}


def learning_rate(progress: float, lr: list[float], warmup: float) -> float:
    """Linear warm-up over a share of the phase, then a cosine from lr[0] to lr[1]. progress in [0, 1]."""
    if progress < warmup:
        return lr[0] * (progress / warmup)
    at = (progress - warmup) / (1 - warmup)
    return lr[1] + (lr[0] - lr[1]) * 0.5 * (1 + math.cos(math.pi * min(at, 1.0)))


class Run:
    """Models, the plan's folder and where the run stands."""

    def __init__(self, plan: dict[str, Any], folder: Path, teacher: Teacher, student: Student,
                 spans: list[tuple[int, int]], device: str,
                 evaluate: Callable[[Student], dict[str, Any]] | None = None, ranks: Ranks | None = None) -> None:
        self.plan, self.folder, self.device, self.spans = plan, folder, device, spans
        self.teacher, self.student, self.evaluate = teacher, student, evaluate
        self.judge = kept(teacher, folder / JUDGE) or teacher
        self.ranks = ranks or Ranks()
        self.done, self.step = 0, 0
        self.optimizer: Optimizer | None = None
        self.chosen: dict[str, Any] = {"muon": True, "scale": 1.0}
        self.last_loss = math.inf

    def note(self, **facts: Any) -> None:
        """A line in the run's log (log.jsonl) and on the screen, by the first rank."""
        if not self.ranks.first:
            return
        line = json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in facts.items()})
        print(line, flush=True)
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(line + "\n")

    def save(self) -> None:
        """Checkpoint: masters, moments, buffers and the place in the plan; the old one is replaced at once."""
        assert self.optimizer
        if not self.ranks.first:
            return
        buffers = dict(self.student.named_buffers())
        state = {"optimizer": self.optimizer.state(), "buffers": buffers, "done": self.done, "step": self.step,
                 "chosen": self.chosen}
        torch.save(state, self.folder / "checkpoint.part")
        (self.folder / "checkpoint.part").rename(self.folder / "checkpoint.pt")

    def resume(self) -> dict[str, Any] | None:
        """The saved checkpoint, its buffers and place in the plan restored; None at a first start."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return None
        state = torch.load(path, map_location=self.device, weights_only=True)
        for name, buffer in self.student.named_buffers():
            buffer.copy_(state["buffers"][name])
        self.done, self.step, self.chosen = state["done"], state["step"], state["chosen"]
        saved: dict[str, Any] = state["optimizer"]
        return saved

    def run(self) -> None:
        """All phases that are not done yet."""
        saved = self.resume()
        while self.done < len(self.plan["phases"]):
            phase = {**self.plan.get("defaults", {}), **self.plan["phases"][self.done]}
            self.wait_for(phase)
            if phase["kind"] == "judge":
                self.learn(phase)
                self.done += 1
                continue
            if saved and phase.get("fresh_moments") and self.step == 0:
                saved = {**saved, "first": {}, "second": {}, "steps": 0}
            if "race" in phase:
                saved = self.race(phase, saved)
            self.start(phase, saved)
            if "race" not in phase:
                self.phase(phase)
            self.done, self.step = self.done + 1, 0
            assert self.optimizer
            saved = self.optimizer.state()
            self.save()
            if self.evaluate and phase.get("evaluate", True) and self.ranks.first:
                self.note(phase=phase["name"], **self.evaluate(self.student))

    def learn(self, phase: dict[str, Any]) -> None:
        """Have a copy of the teacher learn the task samples; it is their teacher from now on."""
        batches = Conversations(self.files(phase), phase["tokens"], phase["seed"], self.device, longest=REACH)
        seconds = max(phase["until"] - time.time(), 1.0) if "until" in phase else phase["seconds"]
        self.judge = kept(self.teacher, self.folder / JUDGE) or learned(
            self.teacher, batches, self.folder / JUDGE, seconds, phase["lr"], self.ranks, self.note)

    def start(self, phase: dict[str, Any], saved: dict[str, Any] | None) -> None:
        """An optimizer for a phase, from a saved state where there is one."""
        muon = phase.get("muon", self.chosen["muon"])
        self.optimizer = Optimizer(self.student, muon, grid=phase.get("grid", False))
        if saved:
            self.optimizer.restore(saved)

    def race(self, phase: dict[str, Any], saved: dict[str, Any] | None) -> dict[str, Any]:
        """Try a phase's options (`muon`, `scale` of lr) from one start; keep the best one's state and choice."""
        began = {n: p.detach().float().clone() for n, p in self.student.named_parameters()}
        saved = copy.deepcopy(saved) or {"masters": began, "first": {}, "second": {}, "steps": 0}
        best: tuple[float, dict[str, Any], dict[str, Any]] | None = None
        for option in phase["race"]:
            self.step, self.chosen = 0, option
            self.start(phase, saved)
            self.phase(phase)
            assert self.optimizer
            self.note(race=phase["name"], **option, loss=self.last_loss)
            if best is None or self.last_loss < best[0]:
                best = self.last_loss, option, copy.deepcopy(self.optimizer.state())
        assert best
        self.chosen = best[1]
        return best[2]

    def wait_for(self, phase: dict[str, Any]) -> None:
        """Wait, at most `wait` seconds, until the phase's files are there."""
        for _ in range(int(phase.get("wait", 0))):
            if all(any(self.folder.glob(p)) for p in phase.get("needs", [])):
                return
            time.sleep(1)

    def source(self, phase: dict[str, Any]) -> Windows | Conversations:
        """Where a phase's batches come from."""
        files = self.files(phase)
        if phase["kind"] == "tune":
            return Conversations(files, phase["tokens"], phase["seed"], self.device)
        return Windows(files, phase["length"], phase["tokens"], phase["seed"], self.device)

    def files(self, phase: dict[str, Any]) -> list[Path]:
        """A phase's files that are there and whole."""
        return sorted(f for p in phase["files"] for f in self.folder.glob(p) if ".part." not in f.name)

    def loss(self, kind: str, batch: Batch) -> Losses:
        """One forward and backward pass of a kind: its losses by name."""
        if kind == "tune":
            return tune_loss(self.student, self.judge, batch, has_learned=self.judge is not self.teacher)
        if kind == "align":
            return {kind: align_loss(self.student, self.teacher, self.spans, batch)}
        found = distill_loss(self.student, self.teacher, batch) if kind == "distill" else text_loss(self.student, batch)
        return {kind: found}

    def shared(self) -> list[Tensor]:
        """What the ranks average after each step: gradients, and how the experts were used."""
        gradients = [p.grad for p in self.student.parameters() if p.grad is not None]
        return gradients + [layer.mlp.load for layer in self.student.layers if layer.mlp.experts]

    def phase(self, phase: dict[str, Any]) -> None:
        """Run one phase from `self.step` to its end."""
        assert self.optimizer
        mix = Mix([{**phase, **part} for part in phase.get("mix", [{}])], self.source)
        began = mark = time.perf_counter()
        marked, first = self.step, self.step
        if "until" in phase:
            phase = {**phase, "seconds": max(phase["until"] - time.time(), 1.0)}
        recent: dict[str, list[Tensor]] = {}
        while True:
            elapsed = time.perf_counter() - began
            progress = elapsed / phase["seconds"] if "seconds" in phase else self.step / phase["steps"]
            progress = self.ranks.agree(progress)
            if progress >= 1:
                break
            part, source, index = mix.at(self.step)
            batch = source.step(index * self.ranks.world + self.ranks.rank)
            for name, loss in self.loss(part["kind"], batch).items():
                recent.setdefault(name, []).append(loss)
            lr = learning_rate(progress, phase["lr"], phase.get("warmup", 0.03)) * self.chosen["scale"]
            self.ranks.average(self.shared())
            norm = self.optimizer.step(lr, clip=1e9 if phase["kind"] == "align" else 1.0)
            balance(self.student, phase.get("balance", 1e-3))
            self.step += 1
            if (self.step - first) % phase.get("log_every", 25) == 0:
                losses = {f"loss_{k}": float(torch.stack(v).mean()) for k, v in recent.items()}
                now = time.perf_counter()
                rate = (self.step - marked) * phase["tokens"] * self.ranks.world / (now - mark)
                self.last_loss = losses.get(f"loss_{phase['kind']}", self.last_loss)
                self.note(phase=phase["name"], step=self.step, seconds=now - began, lr=lr, norm=float(norm),
                          tokens_per_second=round(rate), **losses)
                mark, marked, recent = now, self.step, {}
            if phase.get("save_every") and self.step % phase["save_every"] == 0:
                self.save()
        self.note(phase=phase["name"], ended=self.step, tokens=(self.step - first) * phase["tokens"] * self.ranks.world,
                  seconds=time.perf_counter() - began)


def with_ends(plan: dict[str, Any], now: float, until: float) -> dict[str, Any]:
    """A plan whose phases that take a `part` of the time from `now` to `until` (Unix times) know when they end."""
    phases, gone = [], 0.0
    for phase in plan["phases"]:
        gone += phase.get("part", 0.0)
        phases.append(phase | ({"until": now + gone * (until - now)} if "part" in phase else {}))
    return plan | {"phases": phases}


def to_training(student: Student, device: str, dtype: torch.dtype = torch.bfloat16) -> Student:
    """The student on its device in its computing dtype; decay parameters and router buffers stay float32."""
    student = student.to(device)
    for name, p in student.named_parameters():
        if name.split(".")[-1] not in ("A_log", "dt_bias"):
            p.data = p.data.to(dtype)
    return student


@torch.no_grad()
def perplexities(student: Student, teacher: Teacher, batch: Batch) -> dict[str, float]:
    """Mean cross-entropy of student and teacher and KL(teacher | student) over a packed row's targets."""
    sums = torch.zeros(3, device=batch[0].device, dtype=torch.float64)
    mine = student(batch[0], batch[1])
    theirs = teacher(batch[0], batch[1])
    keep = (batch[2] >= 0).nonzero()[:, 0]
    for rows in keep.split(2048):
        a = F.linear(mine[rows], student.embed).float().log_softmax(-1)
        b = F.linear(theirs[rows], teacher.embed).float().log_softmax(-1)
        target = batch[2][rows, None]
        found = (-a.gather(1, target).sum(), -b.gather(1, target).sum(), (b.exp() * (b - a)).sum())
        sums += torch.stack(found).double()
    ce, ce_teacher, kl = (sums / len(keep)).tolist()
    return {"ce": ce, "ce_teacher": ce_teacher, "kl": kl}
