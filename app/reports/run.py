"""Running a report from beginning to end: answer the cells, gather them, write the files, say what it took."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.dialogue import document_ids
from app.errors import OncereadError
from app.home import Home
from app.reports import files
from app.reports.job import Job, OnProgress, Run, create
from app.reports.report import gather
from app.reports.template import load
from app.speed import speed
from model.sampling import Sampling
from storage.reports import Report


@dataclass(frozen=True)
class Rest:
    """What the documents not in the sample will take."""

    documents: int
    cells: int
    tokens: int
    seconds_estimate: float
    state_bytes: int


@dataclass(frozen=True)
class ReportResult:
    """What a run did: done = asked now, reused = answered earlier or by another worker, failed = could not be answered,
    missing = not asked, for it was stopped. They sum to cells; needs_review of those answered want a person."""

    job: str
    state: str
    cells: int
    done: int
    reused: int
    failed: int
    missing: int
    needs_review: int
    seconds: float
    files: tuple[str, ...]
    problems: tuple[str, ...]
    rest: Rest | None = None


def run_report(
    home: Home,
    template: str | Path,
    document_ids: Sequence[str],
    folder: Path,
    on_progress: OnProgress | None = None,
    sampling: Sampling | None = None,
    variables: Mapping[str, str] | None = None,
) -> ReportResult:
    """Ask every question of a template (a file, or a shipped one's name) of every document, into `folder`.

    Run it again after an interruption and it goes on; only cells that are new or changed are asked. Raises
    TemplateError, NotFound, ModelError; OncereadError when the folder cannot be written.
    """
    report = create(home, load(template, variables), document_ids, folder, sampling)
    return run(home, report, on_progress)


def run(
    home: Home,
    report: Report,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    sample: int | None = None,
) -> ReportResult:
    """Run a job, or go on with it. sample: only its first documents, and what the rest will take.

    Raises OncereadError when the folder cannot be written, ModelError when there is no model. A cell that fails says
    why and is asked again next time.
    """
    started = time.perf_counter()
    _make(Path(report.spec["folder"]))
    home.reports.set_state(report.id, "running")
    try:
        job = Job(home, report, sample)
        work = Run(job, on_progress, should_stop)
        work.all()
        result = _finish(job, work, started)
        if sample is not None and len(report.spec["documents"]) > sample:
            result = ReportResult(**vars(result) | {"rest": _rest(home, job, work)})
    except BaseException as error:
        if home.reports.get(report.id).state == "running":
            home.reports.set_state(report.id, "failed", " ".join(str(error).split()) or type(error).__name__)
        raise
    return result


def _finish(job: Job, work: Run, started: float) -> ReportResult:
    """Write the files of what there is, and note in the job's row how it ended."""
    finished = gather(job, work.answered, work.trouble)
    written, problems = files.write(finished, job.folder)
    asked = sum(entry.key in work.new and entry.state not in ("failed", "missing") for entry in finished.entries)
    failed, missing = finished.counts["failed"], finished.counts["missing"]
    state = "cancelled" if work.cancelled else "stopped" if missing or len(job.ids) < job.size else "done"
    if state != "cancelled":
        job.home.reports.set_state(job.report.id, "stopped" if state == "stopped" else "done", work.trouble)
    return ReportResult(
        job=job.report.id,
        state=state,
        cells=len(finished.entries),
        done=asked,
        reused=len(finished.entries) - asked - failed - missing,
        failed=failed,
        missing=missing,
        needs_review=finished.counts["needs_review"],
        seconds=time.perf_counter() - started,
        files=written,
        problems=(*problems, *([work.trouble] if work.trouble else [])),
    )


def _rest(home: Home, job: Job, work: Run) -> Rest:
    """What the other documents will take: asking as a cell of the sample took, reading at this machine's speed."""
    ids = job.report.spec["documents"][len(job.ids) :]
    questions = len(job.template.questions)
    tokens, reading = 0, 0.0
    for id in ids:
        document = home.documents.get(id)
        count = document.tokens or len(document_ids(home.engine, home.documents.text(id)))
        tokens += count
        if not any(state.complete for state in home.snapshots.find(id)):
            reading += speed(home).seconds(count)
    spent = [cell.seconds for cell in work.answered.values() if cell.state != "failed"]
    asking = sum(spent) / max(1, len(spent)) * len(ids) * questions
    return Rest(len(ids), len(ids) * questions, tokens, reading + asking, home.engine.state_bytes(tokens))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OncereadError(f"the folder {folder} cannot be made ({error.strerror}): choose another") from error
