"""A run stopped after a phase and taken up again ends where one run would have; losses have the right gradients."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.training.loop import Run, learning_rate, with_ends
from model.training.loss import ce_loss, kl_loss, task_loss
from model.training.optimizer import orthogonal
from model.training.teacher import Teacher
from tests.model.training import tiny

TRAINING = Path(__file__).parents[3] / "model" / "training"
BASE: dict[str, Any] = {"tokens": 32, "length": 16, "files": ["books-*.npy"], "seed": 0, "log_every": 1, "steps": 1,
                        "lr": [1e-2, 1e-2], "warmup": 0.0}
PHASES: list[dict[str, Any]] = [{"name": "one", "kind": "distill", "muon": True},
                                {"name": "two", "kind": "text", "muon": True, "steps": 3,
                                 "mix": [{"share": 2}, {"kind": "distill"}]}]


def tokens(folder: Path) -> None:
    """Random tokens in a run's folder."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "books-00.npy", np.random.default_rng(0).integers(0, 320, 500).astype(np.uint16))


def run(folder: Path, phases: list[dict[str, Any]]) -> Run:
    """A run over random tokens."""
    tokens(folder)
    plan = {"defaults": BASE, "phases": phases}
    result = Run(plan, folder, cast(Teacher, tiny.Teacher()), tiny.student(), [(n, n) for n in range(4)], "cpu")
    result.run()
    return result


def test_a_resumed_run_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = run(tmp_path / "a", PHASES)
    run(tmp_path / "b", PHASES[:1])
    resumed = run(tmp_path / "b", PHASES)
    for (name, p), (_, q) in zip(whole.student.named_parameters(), resumed.student.named_parameters(), strict=True):
        assert torch.equal(p, q), name
    assert (tmp_path / "b" / "log.jsonl").read_text().count('"ended"') == 2


def test_alignment_lowers_its_loss(tmp_path: Path) -> None:
    phase = {"name": "align", "kind": "align", "muon": True, "steps": 6, "log_every": 6}
    first = run(tmp_path / "a", [phase | {"steps": 1, "log_every": 1}])
    last = run(tmp_path / "b", [phase])
    assert last.last_loss < first.last_loss


@pytest.mark.parametrize("kind", ["kl", "ce"])
def test_head_losses_match_autograd(kind: str) -> None:
    torch.manual_seed(1)
    hidden, embed = torch.randn(6, 8, requires_grad=True), torch.randn(11, 8, requires_grad=True)
    other, other_embed = torch.randn(6, 8), torch.randn(11, 8)
    target = torch.tensor([3, -1, 0, 10, -1, 5])
    if kind == "kl":
        mine = kl_loss(hidden, embed, other, other_embed)
        true = F.kl_div((hidden @ embed.T).log_softmax(-1), (other @ other_embed.T).log_softmax(-1),
                        log_target=True, reduction="batchmean")
    else:
        mine = ce_loss(hidden, embed, target)
        true = F.cross_entropy(hidden @ embed.T, target, ignore_index=-1)
    assert torch.allclose(mine, true, atol=1e-5)
    gradients = [torch.autograd.grad(loss, (hidden, embed)) for loss in (mine, true)]
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_task_losses_match_autograd() -> None:
    torch.manual_seed(3)
    hidden, embed = torch.randn(7, 8, requires_grad=True), torch.randn(11, 8, requires_grad=True)
    other, other_embed = torch.randn(7, 8), torch.randn(11, 8)
    target = torch.tensor([-1, -1, 3, 0, -1, -1, 5])
    known = torch.tensor([True, True, True, True, False, True, False])
    mine, means = task_loss(hidden, embed, target, other, other_embed, known)
    log, theirs = (hidden @ embed.T).log_softmax(-1), (other @ other_embed.T).log_softmax(-1)
    kl = (theirs.exp() * (theirs - log)).sum(-1)
    ce = -log.gather(1, target.clamp_min(0)[:, None])[:, 0]
    before, replies = kl[[0, 1, 5]].mean(), kl[[2, 3]].mean()
    true = 0.5 * before + 0.5 * replies + (0.5 * ce[2] + 0.5 * ce[3] + ce[6]) / 3
    assert torch.allclose(mine, true, atol=1e-5)
    for name, value in {"ce": ce[[2, 3, 6]].mean(), "reply": replies, "before": before}.items():
        assert torch.allclose(means[name], value, atol=1e-5), name
    for a, b in zip(*(torch.autograd.grad(loss, (hidden, embed)) for loss in (mine, true)), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_orthogonal_updates_have_singular_values_near_one() -> None:
    torch.manual_seed(2)
    values = torch.linalg.svdvals(orthogonal(torch.randn(2, 24, 16)).float())
    assert 0.6 < values.min() < values.max() < 1.3


def test_learning_rate_warms_up_and_falls() -> None:
    values = [learning_rate(x, [1.0, 0.1], 0.1) for x in (0.0, 0.1, 0.55, 1.0)]
    assert values == pytest.approx([0.0, 1.0, 0.55, 0.1])


def test_phases_end_after_their_parts() -> None:
    phases = [{"name": "a", "part": 0.25}, {"name": "b", "steps": 3}, {"name": "c", "part": 0.5}]
    plan = {"defaults": {"seed": 1}, "phases": phases}
    ends = with_ends(plan, 1000.0, 1400.0)
    assert [phase.get("until") for phase in ends["phases"]] == [1100.0, None, 1300.0]
    assert ends["defaults"] == {"seed": 1}
    assert "until" not in plan["phases"][0]


@pytest.mark.parametrize("name", ["plan.json", "next.json"])
def test_a_plan_in_the_tree_says_how_long_each_phase_takes(name: str) -> None:
    plan = json.loads((TRAINING / name).read_text())
    for phase in plan["phases"]:
        assert {"part", "seconds", "steps", "race"} & phase.keys(), phase["name"]
    assert sum(phase.get("part", 0.0) for phase in plan["phases"]) in (0.0, pytest.approx(1.0))
