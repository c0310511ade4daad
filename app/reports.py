"""Reports: a template's questions asked of every document; a cell already answered is not asked again."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from app import prompts, session
from app.errors import OncereadError, TemplateError
from app.home import Home
from model.errors import ModelError
from model.sampling import Sampling
from storage.documents import Document
from storage.jobs import Cell

OnCell = Callable[[int, int], None]


@dataclass(frozen=True)
class Question:
    """One column of a report."""

    id: str
    ask: str


@dataclass(frozen=True)
class Template:
    """What to ask of each document."""

    title: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class ReportResult:
    """done = asked now, reused = answered in an earlier run, failed = could not be answered; they sum to cells."""

    job: str
    cells: int
    done: int
    reused: int
    failed: int
    files: tuple[str, ...]


def load_template(path: Path) -> Template:
    """Read a YAML template. Raises TemplateError with what is wrong and where."""
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise TemplateError(f"the template {path} cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TemplateError(f"the template {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("questions"), list) or not raw["questions"]:
        raise TemplateError(f"the template {path} needs a title and a list of questions, each with id and ask")
    questions = tuple(_question(path, n, item) for n, item in enumerate(raw["questions"], 1))
    ids = [question.id for question in questions]
    if len(set(ids)) < len(ids):
        repeated = sorted({id for id in ids if ids.count(id) > 1})
        raise TemplateError(f"the template {path} uses the question id {repeated[0]!r} twice")
    return Template(str(raw.get("title") or path.stem), questions)


def _question(path: Path, number: int, item: Any) -> Question:
    if not isinstance(item, dict) or not str(item.get("id") or "").strip() or not str(item.get("ask") or "").strip():
        raise TemplateError(f"question {number} of the template {path} needs both an id and an ask")
    unknown = sorted(set(item) - {"id", "ask"})
    if unknown:
        raise TemplateError(f"question {number} of the template {path} has an unknown key: {unknown[0]}")
    return Question(str(item["id"]).strip(), str(item["ask"]).strip())


def run_report(
    home: Home,
    template_path: Path,
    document_ids: Sequence[str],
    folder: Path,
    on_progress: OnCell | None = None,
    sampling: Sampling | None = None,
) -> ReportResult:
    """Fill every cell of documents x questions and write `report.md` and `report.json` into `folder`.

    Cells are saved one by one: run it again after an interruption and it goes on. Raises TemplateError, NotFound,
    OncereadError when the folder cannot be written; a cell that fails is recorded as failed and asked again next time.
    """
    sampling = sampling or Sampling()
    template = load_template(template_path)
    documents = [home.documents.get(id) for id in document_ids]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OncereadError(f"the folder {folder} cannot be made ({error.strerror})") from error

    total = len(documents) * len(template.questions)
    rows: list[tuple[Document, Question, Cell]] = []
    counts = {"done": 0, "reused": 0, "failed": 0}
    for document in documents:
        for question in template.questions:
            if on_progress:
                on_progress(len(rows), total)
            cell, outcome = _fill(home, document, question, sampling)
            counts[outcome] += 1
            rows.append((document, question, cell))
    if on_progress:
        on_progress(total, total)
    job = _hash(template.title, *(f"{q.id}\n{q.ask}" for q in template.questions), *document_ids)[:12]
    files = _write(home, template, job, rows, folder)
    return ReportResult(job, total, **counts, files=files)


def _fill(home: Home, document: Document, question: Question, sampling: Sampling) -> tuple[Cell, str]:
    """A cell's answer, from an earlier run if the same question was asked of the same text by the same model."""
    engine = home.engine
    settings = json.dumps(asdict(sampling), sort_keys=True)
    key = _hash(document.text_hash, engine.fingerprint, prompts.PROMPT_FORMAT, question.ask, settings)
    earlier = home.cells.get(key)
    if earlier is not None and earlier.state != "failed":
        return earlier, "reused"
    try:
        *_, answer = session.ask(home, document.id, question.ask, sampling=sampling, keep=False)
        assert isinstance(answer, session.Answer)
        facts = asdict(answer)
        cell = Cell(key, document.id, question.id, "found" if answer.found else "not_found", facts)
        outcome = "done"
    except ModelError as error:
        cell, outcome = Cell(key, document.id, question.id, "failed", {"error": str(error)}), "failed"
    home.cells.put(cell)
    return cell, outcome


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _write(
    home: Home, template: Template, job: str, rows: list[tuple[Document, Question, Cell]], folder: Path
) -> tuple[str, ...]:
    """The report as Markdown for people and as JSON with everything."""
    everything = {
        "job": job,
        "title": template.title,
        "model": home.settings.model_name,
        "fingerprint": home.engine.fingerprint,
        "cells": [
            {
                **cell.answer, "document": document.id, "title": document.title, "question": question.id,
                "ask": question.ask, "state": cell.state,
            }
            for document, question, cell in rows
        ],
    }
    files = {
        "report.md": _markdown(template, rows, f"{home.settings.model_name} ({home.engine.fingerprint})"),
        "report.json": json.dumps(everything, indent=2, ensure_ascii=False) + "\n",
    }
    written = []
    for name, content in files.items():
        path = folder / name
        try:
            path.write_text(content, "utf-8")
        except OSError as error:
            raise OncereadError(f"{path} cannot be written ({error.strerror})") from error
        written.append(str(path))
    return tuple(written)


def _markdown(template: Template, rows: list[tuple[Document, Question, Cell]], model: str) -> str:
    lines = [f"# {_plain(template.title)}", ""]
    shown: str | None = None
    for document, question, cell in rows:
        if document.id != shown:
            shown = document.id
            lines += [f"## {_plain(document.title)}", ""]
        answer = cell.answer.get("answer") or cell.answer.get("error", "")
        lines += [f"**{_plain(question.ask)}**", "", _plain(answer), ""]
        for citation in cell.answer.get("citations", ()):
            lines += [f"> {_plain(citation['quote'])}", f"> — {_where(citation)}", ""]
    return "\n".join([*lines, "---", f"Answered by {_plain(model)}.", ""])


def _where(citation: dict[str, Any]) -> str:
    place = citation["place"]
    if not place:
        return "not found in the document"
    page = f", page {place['page']}" if place["page"] else ""
    return _plain(f"{place['path']}{page}, line {place['line_start']}")


def _plain(text: str) -> str:
    """Text on one line with Markdown's and HTML's marks made harmless."""
    text = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|!" else c for c in text)
