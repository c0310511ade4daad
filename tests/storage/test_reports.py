"""Report jobs and cells: what is answered stays, what is claimed is one worker's, what a lost worker had is free."""

import threading
from dataclasses import replace

import pytest

from storage.database import Database
from storage.documents import Document, Documents
from storage.errors import NotFound
from storage.integrity import verify_facts
from storage.reports import Cell, Cells, Report, Reports


def cell(key: str, document: Document | None, state: str = "found", **facts: object) -> Cell:
    """A cell of that key."""
    id = document.id if document else None
    return Cell(key, id, "setting", "state", "hash", {"seed": 0}, state, **facts)  # type: ignore[arg-type]


def test_a_claimed_cell_is_answered_once(database: Database, document: Document) -> None:
    cells = Cells(database)
    wanted = [cell("a", document), cell("b", None)]
    assert cells.claim(wanted, "one", 60) == ["a", "b"]
    assert cells.claim(wanted, "two", 60) == []
    assert cells.get(["a", "b"]) == {}
    answered = cell("a", document, answer={"answer": "Paris, é"}, quote="in Paris", place="a.txt, line 3", seconds=1.5)
    assert not cells.put(answered, "two")
    assert cells.put(answered, "one")
    assert not cells.put(replace(answered, answer={"answer": "Rome"}), "one")
    found = cells.get(["a", "b", "c"])
    assert found.keys() == {"a"}
    assert replace(found["a"], answered_at=0.0) == answered
    assert found["a"].answered_at > 0
    assert cells.claim(wanted, "two", 60) == []
    assert cells.workers() == ["one"]


def test_what_a_lost_worker_had_is_free_again(database: Database, document: Document) -> None:
    cells = Cells(database)
    wanted = [cell("a", document), cell("b", document)]
    cells.claim(wanted, "lost", -1)
    assert cells.claim(wanted[:1], "two", 60) == ["a"]
    assert not cells.put(wanted[0], "lost")
    cells.renew("lost", 60)
    assert cells.claim(wanted, "two", 60) == []
    assert cells.release("lost") == 1
    assert cells.claim(wanted, "two", 60) == ["b"]


def test_a_failed_cell_may_be_claimed_again(database: Database, document: Document) -> None:
    cells = Cells(database)
    cells.claim([cell("a", document)], "one", 60)
    assert cells.put(cell("a", document, "failed", answer={"error": "no memory"}), "one")
    assert cells.get(["a"])["a"].state == "failed"
    assert cells.claim([cell("a", document)], "two", 60) == ["a"]


@pytest.mark.parametrize("change", ["answer = '{\"answer\": \"Rome\"}'", "quote = 'in Rome'", "state = 'not_found'"])
def test_a_damaged_answer_is_forgotten_and_given_again(database: Database, document: Document, change: str) -> None:
    cells = Cells(database)
    answered = cell("a", document, answer={"answer": "Paris"}, quote="in Paris")
    cells.claim([answered], "one", 60)
    assert cells.put(answered, "one")
    with database.writing() as session:
        session.connection().exec_driver_sql(f"UPDATE cells SET {change}")
    assert verify_facts(database) == ["a report's answer a"]
    assert cells.get(["a"]) == {}
    assert cells.claim([answered], "two", 60) == ["a"]
    assert cells.put(answered, "two")
    assert cells.get(["a"])["a"].quote == "in Paris"
    assert verify_facts(database) == []


def test_cells_go_with_their_document(database: Database, document: Document) -> None:
    cells = Cells(database)
    cells.claim([cell("a", document), cell("b", document)], "one", 60)
    cells.put(cell("a", document), "one")
    Documents(database).remove(document.id)
    assert cells.get(["a"]) == {}
    assert not cells.put(cell("b", document), "one")
    assert cells.claim([cell("c", document), cell("d", None)], "one", 60) == ["d"]


def test_of_many_workers_at_once_one_gets_each_cell(database: Database, document: Document) -> None:
    cells = Cells(database)
    wanted = [cell(str(n), document) for n in range(20)]
    got: dict[int, list[str]] = {}

    def work(n: int) -> None:
        got[n] = [key for each in wanted for key in cells.claim([each], f"w{n}", 60)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key for keys in got.values() for key in keys) == sorted(each.key for each in wanted)


def test_jobs_are_listed_found_and_forgotten(database: Database) -> None:
    reports = Reports(database)
    first = reports.put(Report("abc1", "Brief", "waiting", {"documents": ["x"]}))
    second = reports.put(Report("abd2", "Guide", "running", {}))
    assert [job.id for job in reports.list()] == ["abd2", "abc1"]
    assert reports.get("abc") == first
    again = reports.put(replace(first, state="running"))
    assert again.created_at == first.created_at
    assert reports.progress("abc1", 3, 1, 9) == "running"
    reports.set_state("abc1", "cancelled", "by a person")
    assert reports.progress("abc1", 4, 1, 9) == "cancelled"
    assert (reports.get("abc1").done, reports.get("abc1").error) == (4, "by a person")
    with pytest.raises(NotFound, match="more than one report job begins with 'ab'"):
        reports.get("ab")
    for gone in ("", "zzz", "%"):
        with pytest.raises(NotFound, match="no report job"):
            reports.get(gone)
    reports.remove(second.id)
    assert reports.progress(second.id, 0, 0, 0) is None
    with pytest.raises(NotFound):
        reports.set_state(second.id, "done")


def test_jobs_are_their_owners(database: Database) -> None:
    anna, bert = Reports(database, "anna"), Reports(database, "bert")
    anna.put(Report("a", "Brief", "waiting", {}))
    assert [job.owner for job in anna.list()] == ["anna"]
    assert bert.list() == []
    with pytest.raises(NotFound):
        bert.get("a")
    assert Reports(database).get("a").owner == "anna"
