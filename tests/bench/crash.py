"""What survives power cuts, full disks, flipped bits and kills, counted. `tests/storage/test_crash.py` has a short run.

ONCEREAD_TRIALS says how many of each (200); on two quiet cores about twenty minutes. Processes side by side, with seeds
of their own, can share them.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import checkpoints
from tests.storage import crashes, kills

PARTS = "power,full,bits,kill"
SEEDS = "10"


def run() -> Iterator[str]:
    """Measure; yields the lines of a Markdown table as they come, and after each the faults found."""
    trials = int(os.environ.get("ONCEREAD_TRIALS", "200"))
    yield from ("| what, seed | trials | survived | |", "|---|---|---|---|")
    for seed in map(int, SEEDS.split(",")):
        for part in PARTS.split(","):
            what, tally, more = _measure(part, trials, seed)
            yield f"| {what}, {seed} | {tally.trials} | {tally.survived} | {more} |"
            yield from tally.faults[:20]


def _measure(part: str, trials: int, seed: int) -> tuple[str, crashes.Tally | kills.Outcome, str]:
    """What was tried, what came of it, and what else there is to say."""
    match part:
        case "power":
            return "power cut, unsynced writes dropped", crashes.power_cuts(trials, seed, steps=100), ""
        case "full":
            return "disk full, at every write", crashes.full_disks(seed, steps=max(5, trials // 10)), ""
        case "bits":
            bits, noticed = crashes.flipped_bits(trials, seed)
            return "a bit flipped anywhere in the file", bits, f"{noticed} were met"
        case "kill":
            with tempfile.TemporaryDirectory() as name:
                killed = kills.kills(Path(name), checkpoints.write(Path(name) / "checkpoint"), trials, seed)
            said = ", ".join(f"{count} {kind}" for kind, count in sorted(killed.acknowledged.items()))
            return "kill -9", killed, f"{killed.reread:,} tokens re-read; {said}"
        case _:
            raise ValueError(f"there is no part {part!r}: choose of {PARTS}")
