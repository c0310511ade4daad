"""A report job: which cells there are, answering those that are new, and going on after anything."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.errors import OncereadError
from app.home import Home
from app.naming import told_apart
from app.reading import Progress as ReadingProgress
from app.reports import cells, synthesis
from app.reports.states import WarmStates
from app.reports.template import Question, Template, parse
from app.reports.workers import LEASE, Claims, release_lost
from model.sampling import Sampling
from storage.documents import Document
from storage.errors import NotFound, StorageError
from storage.reports import Cell, Report

NOTE_SECONDS = 1.0
"""How often the job's row is written and looked at while nothing is answered."""

REMOVED = "the document was removed from the library"

WAIT_SECONDS = 0.5
"""Between looks at cells that another worker has claimed."""


@dataclass(frozen=True)
class Progress:
    """Cells answered of all, and what is being done now."""

    done: int
    total: int
    doing: str


OnProgress = Callable[[Progress], None]


def create(
    home: Home,
    template: Template,
    document_ids: Sequence[str],
    folder: Path | str | None,
    sampling: Sampling | None = None,
) -> Report:
    """Keep a job that waits to be run; folder None: one of its own in the data folder.

    The same template, documents, settings and folder are the same job. Raises NotFound, OncereadError.
    """
    documents = list(dict.fromkeys(document_ids))
    if not documents:
        raise OncereadError("a report needs at least one document: name some")
    spec = {
        "template": template.source, "name": template.title, "variables": dict(template.variables),
        "documents": documents, "titles": told_apart([home.documents.get(id) for id in documents]),
        "sampling": asdict(sampling or Sampling()), "folder": str(Path(folder).absolute()) if folder else "",
    }
    id = cells.digest(json.dumps({**spec, "titles": None}, sort_keys=True))[:12]
    spec["folder"] = spec["folder"] or str(home.settings.home.absolute() / "reports" / id)
    total = len(documents) * len(template.questions) + len(template.across)
    return home.reports.put(Report(id, template.title, "waiting", spec, total=total))


class Job:
    """A job over the documents that are still there."""

    def __init__(self, home: Home, report: Report, most: int | None = None) -> None:
        """most: only the first so many documents, as a sample. Raises ModelError if there is no model to ask."""
        self.home, self.report = home, report
        spec: Mapping[str, Any] = report.spec
        self.template = parse(spec["name"], spec["template"], spec["variables"])
        self.sampling = Sampling(**spec["sampling"])
        self.ids: list[str] = spec["documents"][:most]
        self.size = len(spec["documents"])
        self.folder = Path(spec["folder"])
        self.documents: dict[str, Document] = {}
        self.blanks: dict[tuple[str, str], Cell] = {}
        for id in self.ids:
            with suppress(NotFound):
                self.documents[id] = home.documents.get(id)
        self.across: dict[str, Cell] = {}
        for id, document in self.documents.items():
            for question in self.template.questions:
                self.blanks[id, question.id] = cells.blank(home, document, question, self.sampling)

    def forget_removed(self) -> None:
        """Take notice of documents that were removed since the job was opened."""
        there = {document.id for document in self.home.documents.list()}
        self.documents = {id: document for id, document in self.documents.items() if id in there}
        self.blanks = {(id, question): cell for (id, question), cell in self.blanks.items() if id in there}

    @property
    def total(self) -> int:
        """All cells, also those of documents that were removed."""
        return len(self.ids) * len(self.template.questions) + len(self.template.across)

    def title(self, id: str) -> str:
        """What a document is called among those of the job, also one that was removed."""
        called: Mapping[str, str] = {**self.report.spec["titles"], **told_apart(self.documents.values())}
        return called.get(id, id)

    def wanted(self, id: str, answered: Mapping[str, Cell]) -> list[cells.Wanted]:
        """A document's cells that are not among those answered; each once, if two questions are the same."""
        asked = [(question, self.blanks[id, question.id]) for question in self.template.questions]
        return list({cell.key: (q, cell) for q, cell in asked if cell.key not in answered}.values())

    def cell(self, id: str, question: Question, answered: Mapping[str, Cell]) -> Cell:
        """A document's cell, as it is now."""
        blank = self.blanks.get((id, question.id))
        if blank is None:
            gone = Cell("", id, question.id, "", "", {}, "missing")
            return cells.failed(gone, REMOVED)
        return answered.get(blank.key, blank)

    def sources(self, question: Question, answered: Mapping[str, Cell]) -> list[synthesis.Source]:
        """What a question across documents is put together from: every answer there is to the questions it names."""
        asked = {q.id: q for q in (*self.template.questions, *self.template.across)}
        found: list[synthesis.Source] = []
        for source in (asked[id] for id in question.sources):
            places: list[tuple[str | None, str, Cell]]
            if source.id in self.across:
                places = [(None, self.template.title, self.across[source.id])]
            else:
                places = [(id, self.title(id), self.cell(id, source, answered)) for id in self.ids]
            found += [
                synthesis.Source(id, title, source.id, source.column, cell.answer["answer"])
                for id, title, cell in places if cell.state in ("found", "needs_review")
            ]
        return sorted(found, key=lambda each: self.ids.index(each.document) if each.document else len(self.ids))


class Run:
    """One run over a job by one worker. Every answer is saved as it comes; what others have claimed is waited for."""

    def __init__(
        self,
        job: Job,
        on_progress: OnProgress | None = None,
        should_stop: Callable[[], bool] | None = None,
        states: WarmStates | None = None,
    ) -> None:
        """states: those that this worker keeps from one run to the next."""
        self.job, self.home = job, job.home
        self._states = states
        self.claims = Claims(self.home.cells)
        self.answered: dict[str, Cell] = {}
        self.new: dict[str, Cell] = {}
        self.trouble: str | None = None
        self.cancelled = False
        self._on_progress, self._should_stop = on_progress, should_stop or (lambda: False)
        self._noted = 0.0
        self._doing = self._waiting = ""

    def stopped(self) -> bool:
        """Whether the person, or somebody elsewhere, has asked to stop. Also a sign of life."""
        if time.monotonic() - self._noted > NOTE_SECONDS:
            self._note(self._doing)
        return self.cancelled or self._should_stop()

    def all(self) -> None:
        """Answer every cell that is not answered yet, those of documents before those across them."""
        release_lost(self.home.cells)
        self.answered = self._saved(cell.key for cell in self.job.blanks.values())
        self._note("looking at what there is")
        self.some(self._order())
        for question in self.job.template.across:
            if not self.stopped():
                self._across(question)
        self._note("")

    def some(self, ids: Sequence[str]) -> None:
        """Answer the cells of these documents, one document after another."""
        waiting = list(ids)
        while waiting and not self.stopped():
            still = []
            for id in waiting:
                if not self.stopped() and not self._document(id):
                    still.append(id)
            waiting = still
            if waiting:
                self._note("waiting for another worker")
                time.sleep(WAIT_SECONDS)

    def _order(self) -> list[str]:
        """Documents whose state is saved come first: their answers need no reading."""
        there = list(self.job.documents)
        return sorted(there, key=lambda id: not any(state.complete for state in self.home.snapshots.find(id)))

    def _document(self, id: str) -> bool:
        """Answer what can be claimed of a document; whether nothing of it is left to others."""
        wanted = self.job.wanted(id, self.answered)
        self.answered |= self._saved(cell.key for _, cell in wanted)
        wanted = self.job.wanted(id, self.answered)
        if not wanted:
            return True
        try:
            claimed = set(self.home.cells.claim([cell for _, cell in wanted], self.claims.worker, LEASE))
        except StorageError as error:  # a full disk: this document's cells say so, the next may have more luck
            self._take(cells.failed(cell, cells.explain(error, id)) for _, cell in wanted)
            return True
        mine = [(question, cell) for question, cell in wanted if cell.key in claimed]
        if not mine and not self._exists(id):
            self._take(cells.failed(cell, REMOVED) for _, cell in wanted)
            return True
        title = self.job.title(id)
        if mine:
            self._note(f"{title}: {len(mine)} questions")
            self._take(cells.answer(self.home, id, mine, self.stopped, self._on_read(title), self._states,
                                     self._on_wait))
            self._give_back()
        return len(mine) == len(wanted)

    def _across(self, question: Question) -> None:
        sources = self.job.sources(question, self.answered)
        cell = synthesis.blank(self.home, question, sources, self.job.sampling)
        while cell.key not in self.answered and not self.stopped():
            self.answered |= self._saved([cell.key])
            if cell.key in self.answered:
                break
            if self.home.cells.claim([cell], self.claims.worker, LEASE):
                self._note(f"across documents: {question.column}")
                self._take(synthesis.answer(self.home, question, cell, sources, self.stopped, self._on_wait))
                self._give_back()
            else:
                time.sleep(WAIT_SECONDS)
        self.job.across[question.id] = self.answered.get(cell.key, cell)

    def _take(self, answers: Iterator[Cell]) -> None:
        """Save each answer as it comes. One that cannot be saved is kept for this run's report.

        A claim that was lost means that another worker has given the answer meanwhile, or that the document is gone.
        """
        for cell in answers:
            try:
                kept = self.home.cells.put(cell, self.claims.worker)
                if not kept and cell.document_id is not None and not self._exists(cell.document_id):
                    cell = cells.failed(cell, REMOVED)
            except StorageError as error:
                self.trouble = f"answers could not be saved: {error}"
            self.answered[cell.key] = self.new[cell.key] = cell
            self._note(self._doing)

    def _exists(self, id: str) -> bool:
        try:
            self.home.documents.get(id)
        except NotFound:
            return False
        return True

    def _give_back(self) -> None:
        with suppress(StorageError):  # a claim that cannot be given back runs out by itself
            self.home.cells.release(self.claims.worker)

    def _saved(self, keys: Iterator[str] | Sequence[str]) -> dict[str, Cell]:
        """Answers there are already. Those that failed in an earlier run are asked again."""
        return {key: cell for key, cell in self.home.cells.get(keys).items() if cell.state != "failed"}

    def _on_read(self, title: str) -> Callable[[ReadingProgress], None]:
        def note(progress: ReadingProgress) -> None:
            self._waiting = progress.waiting
            self._note(f"{title}: reading {progress.done / max(1, progress.total):.0%}", True)

        return note

    def _on_wait(self, words: str) -> None:
        """Say that the work stands still, and why; or that it goes on."""
        self._waiting = words
        self._note(self._doing, rarely=True)

    def _note(self, doing: str, rarely: bool = False) -> None:
        """Say how far the job is, to the caller and in the job's row, and hear whether it was cancelled."""
        done = self.done()
        if self._on_progress:
            self._on_progress(Progress(done, self.job.total, self._waiting or doing))
        if rarely and time.monotonic() - self._noted < NOTE_SECONDS:
            return
        self._doing, self._noted = doing, time.monotonic()
        failed = sum(cell.state == "failed" for cell in self.answered.values())
        try:
            self.claims.alive()
            state = self.home.reports.progress(self.job.report.id, done, failed, self.job.total, self._waiting or doing)
            self.cancelled = state in (None, "cancelled", "stopped")
        except StorageError as error:
            self.trouble = f"the job's progress could not be saved: {error}"

    def done(self) -> int:
        """Cells with an answer or a reason why there is none."""
        there = sum(cell.key in self.answered for cell in self.job.blanks.values())
        removed = (len(self.job.ids) - len(self.job.documents)) * len(self.job.template.questions)
        return there + removed + sum(cell.state != "missing" for cell in self.job.across.values())
