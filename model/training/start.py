"""What a run starts from, and what its checkpoint holds."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from model.training.student import Student


def save_start(student: Student, folder: Path) -> None:
    """What a run starts from: weights and shape."""
    (folder / "config.json").write_text(json.dumps(student.config), encoding="utf-8")
    torch.save(student.state_dict(), folder / "init.pt")


def load_student(folder: Path) -> Student:
    """The student a run starts from (float32, CPU)."""
    student = Student(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    student.load_state_dict(torch.load(folder / "init.pt", weights_only=True))
    return student


def trained_student(folder: Path) -> Student:
    """The student a run's checkpoint holds, from its float32 masters."""
    student = load_student(folder)
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    student.load_state_dict({**student.state_dict(), **state["buffers"], **state["optimizer"]["masters"]})
    return student
