"""Reading in the background: one thread, a job row for each document, taken up again after a restart."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from app import reading
from app.errors import EXPLAINED, ReadingStopped
from app.home import Home
from app.service import Service
from storage.errors import NotFound
from storage.jobs import ReadingJob

UNFINISHED = ("waiting", "reading")
MOST_POINTS = 200
"""Of a job's pace; beyond, every second one is dropped."""


class Pace:
    """The speed of a reading as it goes on."""

    def __init__(self, points: Sequence[tuple[int, float]] = ()) -> None:
        """points: of an earlier run, to be gone on from."""
        self.points = list(points)
        self._last: tuple[int, float] | None = None

    def note(self, tokens: int, now: float) -> None:
        """So many tokens are read at this time (seconds of a clock that only goes on)."""
        if self._last is not None and tokens > self._last[0] and now > self._last[1]:
            self.points = [point for point in self.points if point[0] < tokens]  # what was read again, or anew
            self.points.append((tokens, (tokens - self._last[0]) / (now - self._last[1])))
        if len(self.points) > MOST_POINTS:
            del self.points[1:-1:2]
        self._last = (tokens, now)


class Worker(Service):
    """Reads one document at a time, oldest request first. The database's job rows are the queue."""

    def __init__(self, home: Home) -> None:
        super().__init__("reading")
        self._home = home
        self._halted: set[str] = set()  # documents told to pause or cancel

    def submit(self, document_id: str) -> None:
        """Ask for a document to be read. One already waiting or being read stays where it is."""
        job = self.status(document_id)
        if job is not None and job.state in UNFINISHED:
            return
        self._put(ReadingJob.new(document_id))

    def resume(self, document_id: str) -> None:
        """Go on with a paused or failed job."""
        self.submit(document_id)

    def pause(self, document_id: str) -> None:
        """Stop reading a document after the chunk at work, and keep its job."""
        job = self.status(document_id)
        if job is not None and job.state in UNFINISHED:
            self._halt(document_id)
            self._put(replace(job, state="paused"))

    def cancel(self, document_id: str) -> None:
        """Stop reading a document and drop its job. What was read so far stays saved."""
        self._halt(document_id)
        self._home.jobs.remove(document_id)

    def queue(self) -> list[ReadingJob]:
        """The jobs being read and waiting, in the order they are served."""
        jobs = [job for job in self._home.jobs.list() if job.state in UNFINISHED]
        return sorted(jobs, key=lambda job: (job.state != "reading", job.updated_at))

    def status(self, document_id: str) -> ReadingJob | None:
        """The job of a document, if it has one."""
        return self._home.jobs.get(document_id)

    def _halt(self, document_id: str) -> None:
        with self._changed:
            self._halted.add(document_id)

    def _put(self, job: ReadingJob) -> None:
        with self._changed:
            self._home.jobs.put(job)
            if job.state == "waiting":
                self._halted.discard(job.document_id)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._next() is not None)
                if self._stopping:
                    return
                job = self._next()
            if job is not None:
                self._read(job)

    def _next(self) -> ReadingJob | None:
        return next(iter(self.queue()), None)

    def _read(self, job: ReadingJob) -> None:
        started = time.monotonic()
        pace = Pace(job.pace)

        def note(progress: reading.Progress) -> None:
            pace.note(progress.done, time.monotonic())
            seconds = time.monotonic() - started
            self._record(
                replace(job, state="reading", done=progress.done, total=progress.total, seconds=seconds,
                        pace=tuple(pace.points), error=None, waiting=progress.waiting)
            )  # fmt: skip

        try:
            result = reading.read(self._home, job.document_id, note, lambda: self._is_halted(job.document_id))
        except ReadingStopped:
            return  # paused, cancelled or the service is ending: the job row says which
        except EXPLAINED as error:
            self._record(replace(job, state="failed", error=str(error)))
            return
        except Exception as error:  # a fault of ours, or memory ran out: the job says so, and the thread lives on
            logging.getLogger(__name__).exception("reading %s failed", job.document_id)
            self._record(replace(job, state="failed", error=f"reading failed unexpectedly ({error}): try again"))
            return
        self._record(
            replace(job, state="done", done=result.tokens, total=result.tokens, seconds=result.seconds, error=None,
                    pace=tuple(pace.points))
        )  # fmt: skip

    def _is_halted(self, document_id: str) -> bool:
        return self._stopping or document_id in self._halted

    def _record(self, job: ReadingJob) -> None:
        """Write the job's row, unless it was paused or cancelled meanwhile, or its document removed."""
        with self._changed, suppress(NotFound):
            if job.document_id not in self._halted:
                self._home.jobs.put(job)
