"""Report jobs and their cells. A cell is claimed before it is worked on, so that of several workers one answers it."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from sqlalchemy import Select, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from storage.database import Database
from storage.errors import NotFound
from storage.schema import CellRow, DocumentRow, ReportRow

ReportState = Literal["waiting", "running", "done", "stopped", "cancelled", "failed"]
CellState = Literal["found", "not_found", "needs_review", "failed", "missing"]
CLAIMED = "claimed"
MANY = 500
"""Keys in one statement; SQLite takes no more than 32,766."""


@dataclass(frozen=True)
class Report:
    """A job: what to ask of which documents (`spec`) and how far it is, in cells. Times are seconds since 1970.

    doing: what is being done for it now, in words, or why nothing is; empty while it does not run.
    """

    id: str
    title: str
    state: ReportState
    spec: dict[str, Any]
    done: int = 0
    total: int = 0
    failed: int = 0
    error: str | None = None
    owner: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0
    doing: str = ""


@dataclass(frozen=True)
class Cell:
    """The answer to one question about one document, or (document_id None) about the answers on several.

    key: a hash of all that the answer depends on: state_key (the model and the text it has read), cell_hash (the
    question) and settings. quote and place: of the first quote found in the document. answer: everything else. A cell
    that nobody has answered yet is missing; that is never stored.
    """

    key: str
    document_id: str | None
    question_id: str
    state_key: str
    cell_hash: str
    settings: dict[str, Any]
    state: CellState
    answer: dict[str, Any] = field(default_factory=dict)
    quote: str | None = None
    place: str | None = None
    seconds: float = 0.0
    answered_at: float = 0.0


class Reports:
    """The report jobs of a library, or of one person."""

    def __init__(self, database: Database, owner: str | None = None) -> None:
        """owner: whose jobs these are; the others are as if they were not there. None: everybody's."""
        self._database = database
        self._owner = owner

    def put(self, report: Report) -> Report:
        """Write a job as of now, in place of an earlier one of its id. Returns it as written."""
        now = time.time()
        with self._database.writing() as session:
            row = session.get(ReportRow, report.id)
            owner = row.owner if row else (self._owner or "")
            created = row.created_at if row else now
            facts = asdict(report) | {"owner": owner, "created_at": created, "updated_at": now}
            session.merge(ReportRow(**facts))
            return Report(**facts)

    def progress(self, id: str, done: int, failed: int, total: int, doing: str = "") -> ReportState | None:
        """Note how far a job is and what is being done for it, and say what state it is in: somebody may have cancelled
        it. None if it is gone."""
        with self._database.writing() as session:
            row = session.get(ReportRow, id)
            if row is None:
                return None
            row.done, row.failed, row.total, row.doing, row.updated_at = done, failed, total, doing, time.time()
            return cast(ReportState, row.state)

    def set_state(self, id: str, state: ReportState, error: str | None = None) -> None:
        """Say what state a job is in now. Raises NotFound."""
        self.get(id)
        with self._database.writing() as session:
            changed = {"state": state, "error": error, "doing": "", "updated_at": time.time()}
            session.execute(update(ReportRow).where(ReportRow.id == id).values(**changed))

    def get(self, id: str) -> Report:
        """The job of an id or of a unique beginning of one. Raises NotFound."""
        with self._database.reading() as session:
            rows = session.scalars(self._mine().where(ReportRow.id.startswith(id, autoescape=True)).limit(2)).all()
        exact = [row for row in rows if row.id == id]
        if len(exact or rows) != 1 or not id:
            many = "more than one report job begins with" if rows and id else "no report job"
            raise NotFound(f"{many} {id!r}; `onceread report --list` shows them")
        return _report((exact or rows)[0])

    def list(self) -> list[Report]:
        """All jobs, the last changed first."""
        with self._database.reading() as session:
            return [_report(row) for row in session.scalars(self._mine().order_by(ReportRow.updated_at.desc()))]

    def remove(self, id: str) -> None:
        """Forget a job; its answered cells stay, for other jobs. Raises NotFound."""
        self.get(id)
        with self._database.writing() as session:
            session.execute(delete(ReportRow).where(ReportRow.id == id))

    def _mine(self) -> Select[ReportRow]:
        jobs = select(ReportRow)
        return jobs if self._owner is None else jobs.where(ReportRow.owner == self._owner)


class Cells:
    """The answered and claimed cells of all reports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, keys: Iterable[str]) -> dict[str, Cell]:
        """The answered cells among these keys. One that is damaged is forgotten, to be answered again."""
        wanted, found, damaged = list(dict.fromkeys(keys)), {}, []
        with self._database.reading() as session:
            for start in range(0, len(wanted), MANY):
                some = select(CellRow).where(CellRow.key.in_(wanted[start : start + MANY]), CellRow.state != CLAIMED)
                for row in session.scalars(some):
                    if row.intact:
                        found[row.key] = _cell(row)
                    else:
                        damaged.append(row.key)
        if damaged:
            with self._database.writing() as session:
                session.execute(delete(CellRow).where(CellRow.key.in_(damaged), CellRow.state != CLAIMED))
        return found

    def claim(self, cells: Sequence[Cell], worker: str, seconds: float) -> list[str]:
        """Claim cells for a worker: those that nobody has answered, that failed, or whose claim has run out.

        Returns the keys of those claimed; nothing of a cell but who it is is looked at. A cell whose document is gone
        is not claimed.
        """
        claimed = []
        with self._database.writing() as session:
            now = self._database.clock(session)
            wanted = {cell.document_id for cell in cells if cell.document_id is not None}
            there = set(session.scalars(select(DocumentRow.id).where(DocumentRow.id.in_(wanted))))
            for cell in cells:
                if cell.document_id is None or cell.document_id in there:
                    claim = asdict(cell) | {
                        "state": CLAIMED, "worker": worker, "lease_until": now + seconds, "checksum": ""
                    }
                    if _take(session, claim, now):
                        claimed.append(cell.key)
        return claimed

    def renew(self, worker: str, seconds: float) -> None:
        """A worker goes on: its claims hold `seconds` from now."""
        with self._database.writing() as session:
            claims = (CellRow.worker == worker) & (CellRow.state == CLAIMED)
            session.execute(update(CellRow).where(claims).values(lease_until=self._database.clock(session) + seconds))

    def release(self, worker: str) -> int:
        """Give back what a worker claimed and has not answered; how many cells that were."""
        with self._database.writing() as session:
            claims = (CellRow.worker == worker) & (CellRow.state == CLAIMED)
            return cast(Any, session.execute(delete(CellRow).where(claims))).rowcount

    def workers(self) -> list[str]:
        """Who has claims."""
        with self._database.reading() as session:
            return sorted(session.scalars(select(CellRow.worker).where(CellRow.state == CLAIMED).distinct()))

    def put(self, cell: Cell, worker: str) -> bool:
        """Write the answer to a cell that `worker` has claimed; False if the claim is no longer its own."""
        with self._database.writing() as session:
            row = session.get(CellRow, cell.key)
            if row is None or (row.worker, row.state) != (worker, CLAIMED):
                return False
            for name, value in (asdict(cell) | {"answered_at": time.time()}).items():
                setattr(row, name, value)
            return True


def _take(session: Session, claim: dict[str, Any], now: float) -> bool:
    """Claim one cell, whether it has a row or not."""
    free = or_(CellRow.state == "failed", and_(CellRow.state == CLAIMED, CellRow.lease_until < now))
    taken = session.execute(update(CellRow).where(CellRow.key == claim["key"], free).values(**claim))
    if cast(Any, taken).rowcount == 1:
        return True
    if session.scalar(select(CellRow.key).where(CellRow.key == claim["key"])):
        return False
    try:
        with session.begin_nested():
            session.execute(insert(CellRow).values(**claim))
    except IntegrityError:  # another worker was faster
        return False
    return True


def _report(row: ReportRow) -> Report:
    facts = {name: getattr(row, name) for name in Report.__dataclass_fields__}
    return Report(**facts | {"doing": row.doing or ""})


def _cell(row: CellRow) -> Cell:
    facts = {name: getattr(row, name) for name in Cell.__dataclass_fields__}
    return Cell(**facts)
