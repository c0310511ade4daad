"""The files of a report, written so that a reader never meets half of one."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from app.errors import OncereadError
from app.reports import markdown, web
from app.reports.report import Finished

WRITERS: dict[str, Callable[[Finished], str | bytes]] = {
    "report.md": markdown.write,
    "report.html": web.write,
    "report.csv": lambda report: _tables().csv_text(report),
    "report.xlsx": lambda report: _tables().workbook(report),
    "report.json": lambda report: everything(report),
}


def _tables() -> ModuleType:
    from app.reports import tables  # long to import, and no other command needs it

    return tables


def everything(report: Finished) -> str:
    """The report as JSON: all of it, and its cells once more as a flat list."""
    facts = asdict(report) | {"cells": [asdict(entry) for entry in report.entries]}
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"


def write(report: Finished, folder: Path) -> tuple[tuple[str, ...], list[str]]:
    """Write every file into the folder; the paths written, and in words what could not be.

    Raises OncereadError if not one could.
    """
    written, problems = [], []
    for name, writer in WRITERS.items():
        content = writer(report)
        path, part = folder / name, folder / f".{name}.part"
        try:
            part.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            problems.append(f"{path} cannot be written ({error.strerror})")
        else:
            written.append(str(path))
    if not written:
        raise OncereadError(f"{problems[0]}: answers are saved; free some space or choose another folder, run again")
    return tuple(written), problems
