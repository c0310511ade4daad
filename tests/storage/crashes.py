"""Crash tests that count: power cuts, full disks and flipped bits, each as often as is asked for."""

import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StorageError
from storage.integrity import verify_facts, verify_states, verify_texts
from tests.storage.powerloss import Disk, records
from tests.storage.work import DAMAGED, Work

ROOT = Path(__file__).parents[2]
PATHS = (str(ROOT),)
"""Where the working program finds its modules."""


@dataclass
class Tally:
    """trials; survived: with everything acknowledged there and sound; faults: the others, in words."""

    trials: int
    survived: int
    faults: list[str]


def shim(folder: Path) -> Path:
    """Compile the library that notes every write."""
    built = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl", "-lpthread"], check=True)
    return built


def _work(folder: Path, task: str, seed: int, steps: int) -> tuple[str, Path]:
    """Run `tests.storage.work` with the shim; what it printed, and the record."""
    (folder / "disk").mkdir()
    log = folder / "log"
    environment = os.environ | {
        "LD_PRELOAD": str(shim(folder)), "SHIM_ROOT": str(folder / "disk"), "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([*PATHS, os.environ.get("PYTHONPATH", "")]),
    }
    if task == "acknowledged":
        environment["SHIM_LOG"] = str(log)
    command = [
        sys.executable, "-m", "tests.storage.work", task, str(folder / "disk" / "library.sqlite"), str(seed), str(steps)
    ]
    done = subprocess.run(command, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout, log


def power_cuts(trials: int, seed: int, steps: int = 60) -> Tally:
    """Cut the power at random moments of a record of work, and open what is left."""
    chance = random.Random(seed)
    tally = Tally(0, 0, [])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, log = _work(folder, "acknowledged", seed, steps)
        changes = list(records(log.read_bytes()))
        digests = [line.split()[1] for line in (folder / "disk" / "acknowledged").read_text().splitlines()]
        moments = sorted(chance.randrange(len(changes)) for _ in range(trials))
        disk, seen, acknowledged = Disk(), 0, -1
        notes = next(x.file for x in changes if x.kind == "O" and x.data.endswith(b"acknowledged"))
        for moment in moments:
            for change in changes[seen:moment]:
                disk.take(change)
                if change.kind == "W" and change.file == notes:
                    acknowledged = int(change.data.split()[0])
            seen = max(seen, moment)
            with tempfile.TemporaryDirectory() as left:
                disk.after_a_cut(chance, Path(left))
                fault = _fault(Path(left) / "library.sqlite", digests[max(acknowledged, 0) : acknowledged + 2])
            tally.trials += 1
            tally.survived += not fault
            if fault:
                tally.faults.append(f"at change {moment} of {len(changes)}, after step {acknowledged}: {fault}")
    return tally


def _fault(path: Path, expected: list[str]) -> str:
    """What is wrong with a library that should hold what one of `expected` says; nothing before it ever did."""
    try:
        work = Work(path, 0)
        try:
            bad = [each for each in verify_states(work.database) if each.damaged or each.orphaned]
            others = [*verify_texts(work.database), *verify_facts(work.database), *work.database.problems()]
            if bad or others:
                return f"unsound: {bad} {others}"
            return "" if not expected or work.digest() in expected else "something acknowledged is lost"
        finally:
            work.database.close()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def full_disks(seed: int, steps: int) -> Tally:
    """A disk that is full at every write of every step."""
    with tempfile.TemporaryDirectory() as folder:
        printed, _ = _work(Path(folder), "full", seed, steps)
    full, lost = map(int, printed.split())
    return Tally(full, full - lost, [f"{lost} times something was lost or unexplained"] if lost else [])


def flipped_bits(trials: int, seed: int, steps: int = 40) -> tuple[Tally, int]:
    """Flip a bit anywhere in the file: what loads must be as saved, or refused in words. Also how often it was seen."""
    chance = random.Random(seed)
    tally, noticed = Tally(0, 0, []), 0
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "library.sqlite"
        work = Work(path, seed)
        for _ in range(steps):
            work.step()
        whole = work.everything()
        work.database.close()
        content = path.read_bytes()
        for _ in range(trials):
            flipped = bytearray(content)
            flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
            path.write_bytes(flipped)
            tally.trials += 1
            try:
                opened = Work(path, 0)
                try:
                    found = opened.everything()
                    noticed += found != whole
                    wrong = {key for key in found if found[key] not in (whole.get(key), DAMAGED)}
                finally:
                    opened.database.close()
            except StorageError:
                wrong, noticed = set(), noticed + 1
            except Exception as error:
                wrong = {f"{type(error).__name__}: {error}"}
            tally.survived += not wrong
            tally.faults += sorted(wrong)
    return tally, noticed
