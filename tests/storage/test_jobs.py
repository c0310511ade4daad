"""Reading jobs."""

from dataclasses import replace

import pytest

from storage.database import Database
from storage.documents import Document, Documents
from storage.errors import NotFound
from storage.jobs import Jobs, ReadingJob


def test_a_job_is_written_over(database: Database, document: Document) -> None:
    jobs = Jobs(database)
    assert jobs.get(document.id) is None
    first = ReadingJob.new(document.id)
    jobs.put(first)
    failed = replace(first, state="failed", done=3, total=9, error="no room", seconds=1.5)
    jobs.put(failed)
    found = jobs.get(document.id)
    assert found is not None
    assert replace(found, updated_at=0.0) == replace(failed, updated_at=0.0)
    assert found.updated_at > first.updated_at
    assert jobs.list() == [found]
    jobs.remove(document.id)
    jobs.remove(document.id)
    assert jobs.list() == []


def test_jobs_come_longest_unchanged_first(database: Database, document: Document) -> None:
    jobs = Jobs(database)
    other = Documents(database).add("b", "text", "b", [], [], None)
    for id in (document.id, other.id, document.id):
        jobs.put(ReadingJob.new(id))
    assert [job.document_id for job in jobs.list()] == [other.id, document.id]


def test_a_document_that_is_gone_is_said(database: Database) -> None:
    with pytest.raises(NotFound, match="no document gone"):
        Jobs(database).put(ReadingJob.new("gone"))
