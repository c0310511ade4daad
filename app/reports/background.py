"""Report jobs beside the page: one thread, the job rows are the queue, taken up again after a restart."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.errors import EXPLAINED
from app.home import Home
from app.reports import files, run
from app.reports.job import create
from app.reports.template import load
from app.service import Service
from storage.reports import Report

LOOK_SECONDS = 1.0
"""Between looks for jobs that another process has put in the queue."""

LOST_SECONDS = 60.0
"""A running job writes its row every second; one silent for so long has lost its process."""


class Background(Service):
    """Runs one job at a time, oldest first: those submitted, and those a crash or restart left unfinished."""

    def __init__(self, home: Home) -> None:
        super().__init__("reports")
        self._home = home

    def submit(self, home: Home, id: str) -> None:
        """Put a job in the queue, also one that was stopped, cancelled or failed. home: as its owner sees it."""
        home.reports.set_state(id, "waiting")
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                job = self._next()
                if job is None:
                    self._changed.wait(LOOK_SECONDS)
            if job is not None:
                self._do(job)

    def _next(self) -> Report | None:
        lost = time.time() - LOST_SECONDS
        jobs = [
            job for job in self._home.reports.list()
            if is_background(self._home, job)
            and (job.state == "waiting" or (job.state == "running" and job.updated_at < lost))
        ]
        return min(jobs, key=lambda job: job.updated_at, default=None)

    def _do(self, job: Report) -> None:
        home = self._home.of(job.owner) if job.owner else self._home
        try:
            result = run.run(home, job, should_stop=lambda: self._stopping)
        except EXPLAINED:
            return  # the job's row says it
        except Exception:  # a fault of ours: the job's row says it too, the log has its traceback, the thread lives on
            logging.getLogger(__name__).exception("report job %s failed", job.id)
            return
        if result.state == "stopped" and self._stopping:
            home.reports.set_state(job.id, "waiting")


def new_job(
    home: Home, template: str | Path, document_ids: Sequence[str], variables: Mapping[str, str] | None = None
) -> Report:
    """A job whose files lie in the data folder, to be given to `Background.submit`.

    Raises TemplateError, NotFound, OncereadError.
    """
    return create(home, load(template, variables), document_ids, None)


def is_background(home: Home, job: Report) -> bool:
    """Whether a job's files lie in the data folder; others are run where they were started."""
    return Path(job.spec["folder"]).parent == home.settings.home.absolute() / "reports"


def written(job: Report) -> list[Path]:
    """The files of a job that are there."""
    return [path for name in files.WRITERS if (path := Path(job.spec["folder"]) / name).is_file()]
