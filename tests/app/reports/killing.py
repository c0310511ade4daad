"""A report run again and again, killed at random moments: `python -m tests.app.reports.killing FOLDER MODEL JOB KILLS`.

The model is loaded once and each run is a fork of this process, so that a kill costs no start of Python. Prints JSON:
runs killed, wall seconds, cells, claims and answers as the database itself counted them.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from app.home import Home
from app.reports.run import run
from app.settings import Settings
from tests.app.reports import ledger


def main(folder: str, model: str, job: str, kills: str, longest: str = "0.5") -> None:
    """Kill so many runs, each within `longest` seconds of its start, then let one end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a fork has none of its parent's threads, and would wait for them
    settings = Settings(Path(folder), Path(model), "cpu")
    home = Home(settings)
    engine = home.engine
    home.close()
    ledger.keep(settings.home)
    moments = random.Random(0)
    started, killed = time.perf_counter(), 0
    while killed < int(kills):
        child = os.fork()
        if child == 0:
            _run(settings, engine, job, threads)
        time.sleep(moments.uniform(0.0, float(longest)))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):  # it was faster: everything is answered
            break
        killed += 1
    print(f"{killed} killed after {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    child = os.fork()
    if child == 0:
        _run(settings, engine, job, threads)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    claims, answers = ledger.read(settings.home)
    facts = {
        "killed": killed, "seconds": time.perf_counter() - started, "cells": len(answers),
        "claims": sum(claims.values()), "answers": sum(answers.values()),
    }
    print(json.dumps(facts))


def _run(settings: Settings, engine: object, job: str, threads: int) -> None:
    """In the child: run the job with threads of its own, and leave without what belongs to the parent."""
    code = 1
    torch.set_num_threads(threads)
    try:
        home = Home(settings)
        home._engine = engine  # type: ignore[assignment]
        run(home, home.reports.get(job))
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
