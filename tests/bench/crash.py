"""What survives power cuts, full disks, flipped bits and kills, counted. `tests/storage/test_crash.py` has a short run.

ONCEREAD_TRIALS says how many of each (200); on two quiet cores about twenty minutes.
"""

import os
import tempfile
from pathlib import Path

from tests import checkpoints
from tests.storage import crashes, kills


def run() -> list[str]:
    """Measure; returns the lines of a Markdown table."""
    trials = int(os.environ.get("ONCEREAD_TRIALS", "200"))
    rows = ["| what | trials | survived | |", "|---|---|---|---|"]
    faults: list[str] = []
    power = crashes.power_cuts(trials, seed=10, steps=100)
    rows.append(f"| power cut, unsynced writes dropped | {power.trials} | {power.survived} | |")
    full = crashes.full_disks(seed=10, steps=max(5, trials // 10))
    rows.append(f"| disk full, at every write | {full.trials} | {full.survived} | |")
    bits, noticed = crashes.flipped_bits(trials, seed=10)
    rows.append(f"| a bit flipped anywhere in the file | {bits.trials} | {bits.survived} | {noticed} were met |")
    with tempfile.TemporaryDirectory() as name:
        checkpoint = checkpoints.write(Path(name) / "checkpoint")
        killed = kills.kills(Path(name), checkpoint, trials, seed=10)
    said = ", ".join(f"{count} {kind}" for kind, count in sorted(killed.acknowledged.items()))
    rows.append(f"| kill -9 | {killed.trials} | {killed.survived} | {killed.reread:,} tokens re-read; {said} |")
    for tally in (power, full, bits, killed):
        faults += tally.faults
    return [*rows, "", *faults[:20]]
