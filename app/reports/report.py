"""A finished report as data, the same for every way of writing it: rows of cells, and what they were made from."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from app import answers
from app.home import Home
from app.passages import Place
from app.reports import cells
from app.reports.job import Job
from app.reports.kinds import Value
from app.reports.template import Question
from storage.reports import Cell, CellState

CONTEXT = 240
"""Characters of the document shown on each side of a quote."""


@dataclass(frozen=True)
class Quote:
    """A quote and its place (where: in words, empty if it was not found), and the words around it.

    A quote of another answer, across documents, has that answer's document and column as its place.
    """

    text: str
    verified: bool
    where: str
    path: str | None = None
    page: int | None = None
    chapter: str | None = None
    line_start: int | None = None
    line_end: int | None = None
    char_start: int | None = None
    char_end: int | None = None
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Entry:
    """A cell for people. text: the answer in words; problem: why a person should look at it, or why there is none."""

    document: str | None
    title: str
    question: str
    column: str
    ask: str
    kind: str
    state: CellState
    text: str
    value: Value | None
    problem: str | None
    quotes: tuple[Quote, ...]
    sources: tuple[dict[str, Any], ...]
    seconds: float
    answered: str | None
    key: str


@dataclass(frozen=True)
class Part:
    """A section: a row of entries for each document, or one row across them. Entries are in the order of columns."""

    title: str
    across: bool
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]


@dataclass(frozen=True)
class Coverage:
    """What of a document the model has read, and what not."""

    id: str
    title: str
    removed: bool
    kind: str = ""
    chars: int = 0
    tokens: int | None = None
    pages: int | None = None
    skipped: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Finished:
    """The whole report."""

    job: str
    title: str
    description: str
    model: str
    fingerprint: str
    date: str
    settings: Mapping[str, Any]
    variables: Mapping[str, str]
    counts: Mapping[str, int]
    seconds: float
    trouble: str | None
    documents: tuple[Coverage, ...]
    parts: tuple[Part, ...]

    @property
    def entries(self) -> list[Entry]:
        """Every cell."""
        return [entry for part in self.parts for row in part.rows for entry in row]

    @property
    def for_people(self) -> list[Entry]:
        """The cells that need a person: doubtful, failed or missing."""
        return [entry for entry in self.entries if entry.state in ("needs_review", "failed", "missing")]


def gather(job: Job, answered: Mapping[str, Cell], trouble: str | None) -> Finished:
    """The report of a job with these answers; documents removed meanwhile and cells not answered are said."""
    parts = []
    job.forget_removed()
    for section in job.template.sections:
        rows = []
        for id in [None] if section.across else job.ids:
            rows.append(tuple(_entry(job, id, question, answered) for question in section.questions))
        columns = tuple(question.column for question in section.questions)
        parts.append(Part(section.title, section.across, columns, tuple(rows)))
    states = [entry.state for part in parts for row in part.rows for entry in row]
    keys = {entry.key: entry.seconds for part in parts for row in part.rows for entry in row}
    return Finished(
        job=job.report.id,
        title=job.template.title,
        description=job.template.description,
        model=job.home.settings.model_name,
        fingerprint=job.home.engine.fingerprint,
        date=_date(time.time()),
        settings=job.report.spec["sampling"],
        variables=job.template.variables,
        counts={state: states.count(state) for state in ("found", "not_found", "needs_review", "failed", "missing")},
        seconds=sum(keys.values()),
        trouble=trouble,
        documents=tuple(_coverage(job, id) for id in job.ids),
        parts=tuple(parts),
    )


def _entry(job: Job, id: str | None, question: Question, answered: Mapping[str, Cell]) -> Entry:
    if id is None:
        cell = job.across.get(question.id) or Cell("", None, question.id, "", "", {}, "missing")
    else:
        cell = job.cell(id, question, answered)
    facts = cell.answer
    problem = facts.get("problem") or facts.get("error")
    if cell.state == "missing":
        problem = "not asked yet: run the report again"
    return Entry(
        document=id,
        title=job.title(id) if id else "",
        question=question.id,
        column=question.column,
        ask=question.ask,
        kind=question.kind,
        state=cell.state,
        text=_in_words(facts.get("value"), facts.get("answer", "")),
        value=facts.get("value"),
        problem=problem,
        quotes=tuple(_quote(job.home, id, citation) for citation in facts.get("citations", ())),
        sources=tuple(facts.get("sources", ())),
        seconds=cell.seconds,
        answered=_date(cell.answered_at) if cell.answered_at else None,
        key=cell.key,
    )


def _in_words(value: Value | None, answer: str) -> str:
    """A value as people read it; the model's own words if there is none."""
    match value:
        case None:
            return answer
        case bool():
            return "yes" if value else "no"
        case list():
            return "; ".join(value)
        case _:
            return str(value)


def _quote(home: Home, document: str | None, citation: Mapping[str, Any]) -> Quote:
    if not citation["place"]:
        return Quote(citation["quote"], False, "")
    place = Place(**citation["place"])
    if document is None:  # a quote of another cell: its label is the path
        return Quote(citation["quote"], True, place.path)
    text = answers.places_of(home, document).text
    start, end = place.char_start, place.char_end
    before = _from_a_word(text[max(0, start - CONTEXT) : start], start > CONTEXT)
    after = text[end : end + CONTEXT]
    return Quote(citation["quote"], True, cells.where(place), **asdict(place), before=before, after=after)


def _from_a_word(text: str, cut: bool) -> str:
    """The text from its first whole word on, if its beginning was cut."""
    return text.split(" ", 1)[-1] if cut else text


def _coverage(job: Job, id: str) -> Coverage:
    if id not in job.documents:
        return Coverage(id, job.title(id), True)
    document = job.documents[id]
    skipped = tuple({"path": part.path, "reason": part.reason} for part in document.skipped)
    return Coverage(
        id, document.title, False, document.kind, document.chars, document.tokens, document.pages, skipped
    )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def needs(entries: Sequence[Entry]) -> list[str]:
    """One line for each cell that needs a person."""
    return [f"{entry.title or 'across documents'} / {entry.column}: {entry.problem}" for entry in entries]
