"""Plans whose phases take parts of a run's time."""

import json
from pathlib import Path

import pytest

from model.training.__main__ import HERE, with_ends


def test_phases_end_after_their_parts() -> None:
    phases = [{"name": "a", "part": 0.25}, {"name": "b", "steps": 3}, {"name": "c", "part": 0.5}]
    plan = {"defaults": {"seed": 1}, "phases": phases}
    ends = with_ends(plan, 1000.0, 1400.0)
    assert [phase.get("until") for phase in ends["phases"]] == [1100.0, None, 1300.0]
    assert ends["defaults"] == {"seed": 1}
    assert "until" not in plan["phases"][0]


@pytest.mark.parametrize("name", ["plan.json", "next.json"])
def test_a_plan_in_the_tree_says_how_long_each_phase_takes(name: str) -> None:
    plan = json.loads(Path(HERE / name).read_text())
    for phase in plan["phases"]:
        assert {"part", "seconds", "steps", "race"} & phase.keys(), phase["name"]
    assert sum(phase.get("part", 0.0) for phase in plan["phases"]) in (0.0, pytest.approx(1.0))
