"""A job over a real local Ray cluster: shared by workers, one of them killed, every cell answered once."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from app.home import Home
from app.reports import cluster
from app.reports.cluster import choose
from app.reports.job import Progress, create
from app.reports.template import parse
from model.sampling import Sampling
from tests.app.reports import ledger

QUESTIONS = "".join(f"  - {{id: q{n}, ask: 'What is {n} there?'}}\n" for n in range(3))
TOGETHER = "sections:\n  - {title: All, across: true, questions: [{id: all, ask: 'What is it all about?'}]}\n"
DOCUMENTS = 8


def test_a_killed_worker_s_cells_are_answered_by_others_once(
    home: Home, documents: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.02)
    ids = documents(*(f"Text number {n}. " * 20 for n in range(DOCUMENTS)))
    template = parse("t.yaml", "title: Many\nquestions:\n" + QUESTIONS + TOGETHER)
    job = create(home, template, ids, tmp_path / "out", Sampling(max_tokens=60))
    ledger.keep(home.settings.home)
    seen: set[str] = set()
    killed: list[str] = []

    def kill_one(progress: Progress) -> None:
        at_work = home.cells.workers()
        seen.update(at_work)
        if not killed and progress.done >= 3 and at_work:
            killed.append(at_work[0])
            os.kill(int(at_work[0].split("/")[1]), signal.SIGKILL)

    result = cluster.run_on_cluster(home, job, 2, on_progress=kill_one)
    assert killed
    assert (result.state, result.failed, result.missing) == ("done", 0, 0)
    assert result.cells == DOCUMENTS * 3 + 1
    claims, answers = ledger.read(home.settings.home)
    assert len(answers) == result.cells
    assert set(answers.values()) == {1}
    assert sum(claims.values()) - len(answers) <= 3  # those of the document at work when the worker was killed
    assert home.cells.workers() == []
    assert len({worker.split("/")[1] for worker in seen}) >= 2


def test_a_document_goes_where_its_state_is() -> None:
    held = [["a", "b"], ["c"]]
    assert choose(["c", "b", "d"], held[0], held) == "b"
    assert choose(["c", "d"], held[0], held) == "d"
    assert choose(["c"], held[0], held) == "c"
