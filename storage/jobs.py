"""Reading in the background: work that outlives a page or a command."""

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from sqlalchemy import Select, delete, select

from storage.database import Database
from storage.documents import find_document
from storage.schema import DocumentRow, JobRow

JobState = Literal["waiting", "reading", "paused", "done", "failed"]


@dataclass(frozen=True)
class ReadingJob:
    """How far the reading of a document is, in tokens. updated_at: seconds since 1970, set by `Jobs.put`.

    pace: (tokens read, tokens a second on the way there) again and again, for a picture of the speed. waiting: why
    reading stands still, if it does.
    """

    document_id: str
    state: JobState
    done: int
    total: int
    error: str | None
    seconds: float
    updated_at: float
    pace: tuple[tuple[int, float], ...] = ()
    waiting: str = ""

    @classmethod
    def new(cls, document_id: str) -> "ReadingJob":
        """A job that waits for its turn."""
        return cls(document_id, "waiting", 0, 0, None, 0.0, time.time())


class Jobs:
    """The reading jobs of a library, or those of one person's documents; at most one for each document."""

    def __init__(self, database: Database, owner: str | None = None) -> None:
        """owner: as for `Documents`."""
        self._database = database
        self._owner = owner

    def put(self, job: ReadingJob) -> None:
        """Write a job as of now, in place of the document's earlier one. Raises NotFound if the document is gone."""
        with self._database.writing() as session:
            find_document(session, job.document_id, self._owner)
            row = asdict(job) | {"updated_at": time.time(), "pace": [list(point) for point in job.pace]}
            session.merge(JobRow(**row))

    def get(self, document_id: str) -> ReadingJob | None:
        """The job of a document, if it has one."""
        with self._database.reading() as session:
            row = session.scalar(self._owned().where(JobRow.document_id == document_id))
            return _job(row) if row else None

    def list(self) -> list[ReadingJob]:
        """All jobs, the longest unchanged first."""
        with self._database.reading() as session:
            return [_job(row) for row in session.scalars(self._owned().order_by(JobRow.updated_at))]

    def remove(self, document_id: str) -> None:
        """Forget a document's job; it need not have one."""
        with self._database.writing() as session:
            ids = self._owned().with_only_columns(JobRow.document_id).where(JobRow.document_id == document_id)
            session.execute(delete(JobRow).where(JobRow.document_id.in_(ids)))

    def _owned(self) -> Select[Any]:
        jobs = select(JobRow)
        return jobs if self._owner is None else jobs.join(DocumentRow).where(DocumentRow.owner == self._owner)


def _job(row: JobRow) -> ReadingJob:
    state = cast(JobState, row.state)
    pace = tuple((int(tokens), float(speed)) for tokens, speed in row.pace or ())
    return ReadingJob(row.document_id, state, row.done, row.total, row.error, row.seconds, row.updated_at, pace,
                      row.waiting or "")
