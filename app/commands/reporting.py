"""`onceread report`."""

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from app.commands.outcome import Command, Outcome, Stop
from app.errors import OncereadError
from app.home import Home
from app.reports.cluster import run_on_cluster
from app.reports.job import Progress, create
from app.reports.run import ReportResult, run
from app.reports.template import load, shipped
from app.words import count, duration, size
from storage.reports import Report


def register(command: Command) -> None:
    """Add the command."""
    parser = command("report", report, "ask every question of a template of every document")
    parser.set_defaults(usage_error=parser.error)
    ready = ", ".join(shipped())
    parser.add_argument("template", nargs="?", metavar="TEMPLATE", help=f"a YAML file, or one of: {ready}")
    parser.add_argument("documents", nargs="*", metavar="DOCUMENT")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where the report's files go")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of the template")
    parser.add_argument("--sample", type=int, metavar="N", help="run the first N documents, say what the rest takes")
    parser.add_argument("--workers", type=int, metavar="N", help="share the documents among N workers, with Ray")
    parser.add_argument("--ray", metavar="ADDRESS", help="the Ray cluster whose workers to use (default: this machine)")
    jobs = parser.add_mutually_exclusive_group()
    jobs.add_argument("--list", action="store_true", help="the report jobs there are")
    jobs.add_argument("--resume", metavar="JOB", help="go on with a job")
    jobs.add_argument("--cancel", metavar="JOB", help="stop a job, wherever it runs; its answers stay")


def report(home: Home, options: argparse.Namespace, stop: Stop) -> Outcome:
    """`onceread report`: fill the cells, write the files."""
    if options.list:
        return _list(home)
    if options.cancel:
        return _cancel(home, options.cancel)
    if options.sample is not None and options.sample < 1:
        options.usage_error("--sample wants a number of documents, 1 or more")
    if options.workers is not None and (options.workers < 1 or options.sample is not None):
        options.usage_error("--workers wants a number, 1 or more, and no --sample")
    if options.resume:
        job = home.reports.get(options.resume)
    elif options.template and options.documents and options.output:
        ids = [home.documents.find(name).id for name in options.documents]
        job = create(home, load(options.template, _variables(options.set)), ids, options.output)
    else:
        options.usage_error("a report needs TEMPLATE, DOCUMENT… and -o FOLDER (or --list, --resume JOB, --cancel JOB)")
    with tqdm(total=job.total, unit="cell", file=sys.stderr, leave=False) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.set_description(progress.doing[:60], refresh=False)
            bar.update(progress.done - bar.n)

        if options.workers:
            result = run_on_cluster(home, job, options.workers, options.ray, show, stop)
        else:
            result = run(home, job, show, stop, options.sample)
    return asdict(result), _in_words(result), 1 if result.failed or result.missing or result.problems else 0


def _in_words(result: ReportResult) -> str:
    counts = f"{result.done} asked, {result.reused} reused, {result.failed} failed"
    missing = f", {result.missing} not asked yet" if result.missing else ""
    wanting = f"{result.needs_review} need{'s' * (result.needs_review == 1)} a person"
    lines = [f"{count(result.cells, 'cell')}: {counts}{missing}; {wanting}", *result.problems]
    if result.rest:
        rest = result.rest
        lines.append(
            f"the other {count(rest.documents, 'document')}: {count(rest.cells, 'cell')}, "
            f"{count(rest.tokens, 'token')}, about {duration(rest.seconds_estimate)}, state {size(rest.state_bytes)}"
        )
    if result.state == "stopped":
        lines.append(f"go on with: onceread report --resume {result.job}")
    return "\n".join([*lines, *result.files])


def _variables(settings: list[str]) -> dict[str, str]:
    pairs = [setting.partition("=") for setting in settings]
    if wrong := [setting for setting, (_, sign, _) in zip(settings, pairs, strict=True) if not sign]:
        raise OncereadError(f"--set {wrong[0]} has no value: write --set {wrong[0]}=VALUE")
    return {name.strip(): value for name, _, value in pairs}


def _list(home: Home) -> Outcome:
    jobs = home.reports.list()
    return {"jobs": [_facts(job) for job in jobs]}, "\n".join(map(_line, jobs)) or "There are no report jobs.", 0


def _cancel(home: Home, id: str) -> Outcome:
    job = home.reports.get(id)
    if job.state in ("waiting", "running", "stopped"):
        home.reports.set_state(job.id, "cancelled")
    job = home.reports.get(job.id)
    return _facts(job), _line(job), 0


def _facts(job: Report) -> dict[str, object]:
    return {
        "job": job.id, "title": job.title, "state": job.state, "cells": job.total, "done": job.done,
        "failed": job.failed, "documents": job.spec["documents"], "folder": job.spec["folder"], "error": job.error,
        "updated": job.updated_at, "doing": job.doing if job.state == "running" else "",
    }


def _line(job: Report) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.updated_at))
    cells = f"{job.done}/{job.total} cells"
    doing = f"  ({job.doing})" if job.state == "running" and job.doing else ""
    return f"{job.id}  {job.state:>9}  {cells:>14}  {when}  {job.title}  {job.spec['folder']}{doing}"
