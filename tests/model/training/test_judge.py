"""The judge learns the replies, keeps to the teacher elsewhere, and is there again when a run goes on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.training.data import Conversations
from model.training.judge import REACH, kept, known, learned
from model.training.loop import JUDGE, Run, tune_loss
from model.training.packing import make_pack
from model.training.ranks import Ranks
from model.training.teacher import Teacher
from tests.model.training import tiny
from tests.model.training.test_loop import BASE, tokens


def teacher() -> Teacher:
    """A small Llama."""
    torch.manual_seed(5)
    model = Teacher(layers=2, vocab=320)
    for name, p in model.named_parameters():
        p.data.fill_(1.0) if name.endswith("norm") else p.data.normal_(0, 0.05)
    return model


def samples(folder: Path, lengths: tuple[int, ...] = (12, 9, 14, 11)) -> list[Path]:
    """Task files in which a reply is always the same two tokens."""
    folder.mkdir(exist_ok=True)
    ids, reply = [], []
    for n, length in enumerate(lengths):
        ids += [*np.random.default_rng(n).integers(3, 320, length - 2), 7, 8]
        reply += [False] * (length - 2) + [True] * 2
    np.savez(folder / "tasks-00.npz", ids=np.array(ids, dtype=np.uint16), reply=np.array(reply),
             lengths=np.array(lengths, dtype=np.int32))
    return [folder / "tasks-00.npz"]


def test_where_the_teacher_is_believed() -> None:
    pack = make_pack([REACH + 2, 3])
    ids = torch.ones(REACH + 5, dtype=torch.int64)
    ids[-1] = 0
    assert (~known(ids, pack)).nonzero()[:, 0].tolist() == [REACH, REACH + 1, REACH + 4]


def test_samples_too_long_for_the_teacher_are_left_out(tmp_path: Path) -> None:
    batches = Conversations(samples(tmp_path), 32, 0, "cpu", longest=11)
    assert sorted(n for members in batches.bins for n in members) == [1, 3]


def test_a_judge_learns_the_replies_and_is_kept(tmp_path: Path) -> None:
    master, notes = teacher(), []
    batches = Conversations(samples(tmp_path), 32, 0, "cpu")
    judge = learned(master, batches, tmp_path / JUDGE, 4.0, [3e-3, 1e-3], Ranks(), lambda **facts: notes.append(facts))
    assert notes[0]["loss_ce"] > 4
    assert notes[-1]["ended"] > 1
    ids, pack, target = batches.step(0)
    rows = (target >= 0).nonzero()[:, 0]

    def likelihood(model: Teacher) -> torch.Tensor:
        return (model(ids, pack)[rows] @ model.embed.T).log_softmax(-1).gather(1, target[rows, None]).mean()

    assert likelihood(judge) > likelihood(master) + 1
    assert not any(p.requires_grad for p in judge.parameters())
    again = kept(master, tmp_path / JUDGE)
    assert again is not None
    assert torch.equal(again.layers[1].q, judge.layers[1].q)
    assert kept(master, tmp_path / "nothing.pt") is None


def test_a_run_has_its_tasks_taught_by_the_judge(tmp_path: Path) -> None:
    tokens(tmp_path)
    samples(tmp_path)
    tune: dict[str, Any] = {"name": "tune", "kind": "tune", "files": ["tasks-*.npz"], "muon": True}
    phases = [tune | {"name": "judge", "kind": "judge", "seconds": 0.5, "lr": [3e-3, 1e-3]}, tune]
    run = Run({"defaults": BASE, "phases": phases}, tmp_path, teacher(), tiny.student(), [], "cpu")
    run.run()
    assert run.judge is not run.teacher
    assert (tmp_path / JUDGE).exists()
    log = (tmp_path / "log.jsonl").read_text()
    assert '"loss_tune_kl"' in log
    assert '"phase": "judge", "ended"' in log
    assert Run({"phases": []}, tmp_path, run.teacher, tiny.student(), [], "cpu").judge is not run.teacher


def test_without_a_judge_replies_learn_from_their_words_alone(tmp_path: Path) -> None:
    batch = Conversations(samples(tmp_path), 32, 0, "cpu").step(0)
    master, gradients = teacher(), []
    for has_learned in (False, True):
        student = tiny.student()
        losses = tune_loss(student, master, batch, has_learned)
        assert (losses["tune_kl"] > 0) == has_learned
        assert losses["tune"] > 0
        assert losses["tune_before"] > 0
        gradients.append(student.embed.grad)
    assert not torch.equal(*gradients)
