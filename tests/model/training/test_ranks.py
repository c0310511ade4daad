"""Two ranks under torchrun end in the same weights as each other, and in those that one rank with both batches has."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from model.training.ranks import Ranks
from tests.model.training.test_loop import tokens

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from pathlib import Path
import torch
from model.training import ranks
from model.training.loop import Run
from tests.model.training import tiny
from tests.model.training.test_loop import BASE

folder = Path(sys.argv[1])
together = ranks.join("cpu")
plan = {"defaults": BASE, "phases": [{"name": "two", "kind": "text", "muon": False, "steps": 2}]}
run = Run(plan, folder, tiny.Teacher(), tiny.student(), [(n, n) for n in range(4)], "cpu", ranks=together)
run.run()
torch.save(run.student.state_dict(), folder / f"rank-{together.rank}.pt")
ranks.part()
"""


def test_alone_nothing_changes() -> None:
    values = [torch.tensor([1.0, 3.0])]
    Ranks().average(values)
    assert values[0].tolist() == [1.0, 3.0]
    assert Ranks().agree(0.25) == 0.25


def test_two_ranks_walk_together(tmp_path: Path) -> None:
    tokens(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         str(tmp_path / "program.py"), str(tmp_path)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"rank-{n}.pt", weights_only=True) for n in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    log = (tmp_path / "log.jsonl").read_text()
    assert log.count('"ended"') == 1
    assert '"tokens": 128' in log
