"""What survives: power cuts, full disks, flipped bits, kills. `python -m tests.bench crash` does the same at length."""

from pathlib import Path

import pytest

from storage import sqlite
from tests.storage import crashes, kills


def test_nothing_acknowledged_is_lost_by_a_power_cut() -> None:
    tally = crashes.power_cuts(trials=25, seed=1, steps=25)
    assert (tally.faults, tally.survived) == ([], 25)


def test_the_power_cuts_would_find_a_commit_that_is_not_synced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weak = tmp_path / "sitecustomize.py"
    weak.write_text(
        "import sys, sqlite3\n"
        "real = sqlite3.connect\n"
        "class Weak(sqlite3.Connection):\n"
        "    def execute(self, statement, *more):\n"
        "        return super().execute(statement.replace('= EXTRA', '= OFF'), *more)\n"
        "sqlite3.connect = lambda *a, **k: real(*a, **{**k, 'factory': Weak})\n"
        "sqlite3.dbapi2.connect = sqlite3.connect\n"
    )
    monkeypatch.setattr(crashes, "PATHS", (str(tmp_path), *crashes.PATHS))
    assert crashes.power_cuts(trials=10, seed=1, steps=10).survived < 10
    assert sqlite.PAGE_SIZE % 4096 == 0  # a page is sectors of the disk that is simulated


def test_a_full_disk_at_any_write_loses_nothing_and_is_said() -> None:
    tally = crashes.full_disks(seed=1, steps=5)
    assert tally.faults == []
    assert tally.trials > 30


def test_a_flipped_bit_anywhere_is_never_shown_as_what_was_saved() -> None:
    tally, noticed = crashes.flipped_bits(trials=40, seed=1, steps=15)
    assert (tally.faults, tally.survived) == ([], 40)
    assert noticed > 0


def test_a_kill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path, tiny_checkpoint: Path) -> None:
    outcome = kills.kills(tmp_path, tiny_checkpoint, trials=8, seed=1)
    assert (outcome.faults, outcome.survived) == ([], 8)
    assert outcome.acknowledged.get("read", 0) > 0
