"""Jobs: killed at any moment they lose what was at work and no more; several processes share one."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from app.home import Home
from app.reports import workers
from app.reports.job import Job, Run, create
from app.reports.template import parse
from app.settings import Settings
from model.sampling import Sampling
from tests.app.reports import ledger

ROOT = Path(__file__).parents[3]
MANY = "title: Many\nquestions:\n" + "".join(f"  - {{id: q{n}, ask: 'What is {n} there?'}}\n" for n in range(5))
KILLS = 50


def test_killed_again_and_again_it_ends_with_every_cell_answered_once(
    home: Home, documents: Callable[..., list[str]], tmp_path: Path
) -> None:
    ids = documents(*(f"Text number {n}. " * 30 for n in range(30)))
    job = create(home, parse("t.yaml", MANY), ids, tmp_path / "out", Sampling(max_tokens=20))
    arguments = [home.settings.home, home.settings.model, job.id, KILLS, 0.25]
    done = subprocess.run(
        [sys.executable, "-m", "tests.app.reports.killing", *map(str, arguments)], cwd=ROOT, env=os.environ,
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["killed"] == KILLS
    assert facts["cells"] == facts["answers"] == 30 * 5
    assert facts["claims"] - facts["answers"] <= KILLS * 5  # the cells of the document at work at each kill
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert report["counts"]["failed"] == report["counts"]["missing"] == 0
    assert home.cells.workers() == []


def test_two_at_once_share_the_cells(home: Home, documents: Callable[..., list[str]], tmp_path: Path) -> None:
    ids = documents(*(f"Text number {n}." for n in range(6)))
    job = create(home, parse("t.yaml", MANY), ids, tmp_path / "out", Sampling(max_tokens=20))
    ledger.keep(home.settings.home)
    other = Home(Settings(home.settings.home, home.settings.model, "cpu"))
    runs = [Run(Job(each, each.reports.get(job.id))) for each in (home, other)]
    threads = [threading.Thread(target=each.all) for each in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    claims, answers = ledger.read(home.settings.home)
    assert len(answers) == sum(answers.values()) == sum(claims.values()) == 30
    assert len(runs[0].new) + len(runs[1].new) == 30
    assert runs[0].done() == runs[1].done() == 30


def test_claims_of_the_dead_are_free_at_once(home: Home, documents: Callable[..., list[str]], tmp_path: Path) -> None:
    job = Job(home, create(home, parse("t.yaml", MANY), documents("A text."), tmp_path, Sampling(max_tokens=2)))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    blanks = list(job.blanks.values())
    home.cells.claim(blanks[:2], workers.claims_of(gone.pid) + "x", 600)
    assert workers.is_lost(workers.claims_of(gone.pid) + "x")
    assert not workers.is_lost(workers.claims_of(os.getpid()) + "x")
    assert not workers.is_lost(f"elsewhere/{gone.pid}/x")
    work = Run(job)
    work.all()
    assert work.done() == 5
