"""`onceread report`."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from app import reports
from app.commands.outcome import Command, Outcome, Stop
from app.home import Home


def register(command: Command) -> None:
    """Add the command."""
    parser = command("report", report, "ask every question of a template of every document")
    parser.add_argument("template", type=Path, metavar="TEMPLATE")
    parser.add_argument("documents", nargs="+", metavar="DOCUMENT")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")


def report(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread report`: fill the cells, write the files."""
    ids = list(dict.fromkeys(home.documents.find(name).id for name in options.documents))
    with tqdm(unit="cell", file=sys.stderr, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = reports.run_report(home, options.template, ids, options.output, progress)
    text = f"{result.cells} cells: {result.done} asked, {result.reused} reused, {result.failed} failed"
    return asdict(result), "\n".join([text, *result.files]), 1 if result.failed else 0
