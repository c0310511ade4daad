"""Reports as a whole: only new cells are asked, failures are named and asked again, a stopped job goes on."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app import library, reading
from app.aids import Aids
from app.errors import OncereadError
from app.home import Home
from app.reports import cells, files, run, synthesis
from app.reports.job import Progress, create
from app.reports.template import Template, parse
from model.engine import Engine
from model.errors import ModelError
from model.sampling import Sampling
from storage.documents import Documents
from storage.errors import NotFound, StorageFull
from storage.reports import Cells
from tests.app.reports.conftest import ACROSS, BRIEF, SHORT

Add = Callable[..., list[str]]


def report(
    home: Home, text: str, ids: list[str], folder: Path, sampling: Sampling = SHORT, **more: Any
) -> run.ReportResult:
    """Run a template's text."""
    return run.run(home, create(home, parse("t.yaml", text), ids, folder, sampling), **more)


def counts(result: run.ReportResult) -> tuple[int, int, int, int, int]:
    """cells, done, reused, failed, missing."""
    assert result.cells == result.done + result.reused + result.failed + result.missing
    return result.cells, result.done, result.reused, result.failed, result.missing


def facts(result: run.ReportResult) -> dict[str, Any]:
    """The JSON file."""
    return json.loads(next(Path(file) for file in result.files if file.endswith(".json")).read_text("utf-8"))


def test_the_python_function(home: Home, documents: Add, tmp_path: Path) -> None:
    (tmp_path / "brief.yaml").write_text(BRIEF, "utf-8")
    seen: list[Progress] = []
    result = run.run_report(home, tmp_path / "brief.yaml", documents("One text."), tmp_path / "out", seen.append, SHORT)
    assert counts(result) == (1, 1, 0, 0, 0)
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, 1, 1)
    assert [Path(file).name for file in result.files] == list(files.WRITERS)
    assert home.reports.get(result.job).state == "done"


def test_only_new_cells_are_asked(home: Home, documents: Add, tmp_path: Path) -> None:
    first, second = documents("One text.", "Another text.")
    assert counts(report(home, BRIEF, [first], tmp_path)) == (1, 1, 0, 0, 0)
    assert counts(report(home, BRIEF, [first, second], tmp_path)) == (2, 1, 1, 0, 0)
    more = BRIEF + "  - id: people\n    ask: Who?\n"
    assert counts(report(home, more, [first, second], tmp_path)) == (4, 2, 2, 0, 0)
    changed = more.replace("Who?", "Who now?")
    assert counts(report(home, changed, [first, second], tmp_path)) == (4, 2, 2, 0, 0)
    assert counts(report(home, changed.replace("Book brief", "A brief"), [first, second], tmp_path)) == (4, 0, 4, 0, 0)
    assert counts(report(home, BRIEF, [first], tmp_path, Sampling(max_tokens=5))) == (1, 1, 0, 0, 0)


def test_what_the_model_would_rather_refuse_about_a_whole_text_wants_a_person(
    home: Home, documents: Add, tmp_path: Path
) -> None:
    home.aids = Aids(1, True, fit=1.0, refuse=-1e9)
    (cell,) = facts(report(home, BRIEF, documents("Anna Reed built a mill in 1920."), tmp_path))["cells"]
    assert cell["state"] == "needs_review"
    assert "would rather have said" in cell["problem"]
    assert cell["quotes"][0]["text"] == "Anna Reed built a mill in 1920."


def test_only_kinds_that_a_text_has_as_they_are_are_pointed_to(pointing_home: Home, tmp_path: Path) -> None:
    pointing_home.aids = Aids(1, True, fit=1.0, point=-1e9)
    (tmp_path / "mill.txt").write_text("Anna Reed built a mill in 1920.", "utf-8")
    document = library.add(pointing_home, [tmp_path / "mill.txt"])
    kinds = ["text", "number", "date", "list", "yes/no"]
    asked = "".join(f"  - {{id: q{n}, ask: 'Who built the mill?', kind: {kind}}}\n" for n, kind in enumerate(kinds))
    one_of = "  - {id: last, ask: 'Who built the mill?', kind: one of, options: [Anna, Reed]}\n"
    questions = parse("brief.yaml", f"title: Brief\nquestions:\n{asked}{one_of}").questions
    wanted = [(question, cells.blank(pointing_home, document, question, SHORT)) for question in questions]
    made = {cell.question_id: cell for cell in cells.answer(pointing_home, document.id, wanted, lambda: False)}
    pointed = [(made[question.id].answer or {})["pointed"] for question in questions]
    assert pointed == [True, True, True, False, False, False]


def test_the_same_request_is_the_same_job(home: Home, documents: Add, tmp_path: Path) -> None:
    ids = documents("One text.", "Another.")
    one, again = (report(home, BRIEF, ids, tmp_path) for _ in range(2))
    assert one.job == again.job != report(home, BRIEF, ids[:1], tmp_path).job
    assert len(home.reports.list()) == 2


def test_questions_across_documents_are_asked_of_the_answers(home: Home, documents: Add, tmp_path: Path) -> None:
    ids = documents("One text.", "Another text.")
    result = report(home, ACROSS, ids, tmp_path)
    assert counts(result) == (6, 6, 0, 0, 0)
    common, gist = (cell for cell in facts(result)["cells"] if cell["document"] is None)
    assert {source["document"] for source in common["sources"]} <= set(ids)
    assert {source["question"] for source in common["sources"]} <= {"setting", "people"}
    assert {source["question"] for source in gist["sources"]} <= {"setting", "common"}
    assert common["sources"]
    assert counts(report(home, ACROSS, ids, tmp_path)) == (6, 0, 6, 0, 0)


def test_where_no_document_answers_there_is_nothing_to_put_together(home: Home, documents: Add, tmp_path: Path) -> None:
    home.aids = Aids(evidence=1, choose_quotes=True)  # which refuse a question whose words are not in the document
    text = ACROSS.replace("Where and when does the story take place", "Which zeppelin landed")
    text = text.replace("Who are the main characters", "Which yacht sank")
    result = report(home, text, documents("One text.", "Another text."), tmp_path)
    assert counts(result) == (6, 6, 0, 0, 0)
    assert facts(result)["counts"]["not_found"] == 6
    assert facts(result)["cells"][-1]["text"] == synthesis.NOTHING
    assert counts(run.run(home, home.reports.get(result.job))) == (6, 0, 6, 0, 0)


def test_two_questions_that_are_the_same_are_asked_once(
    home: Home, documents: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = cells.generate

    def counting(home: Home, state: Any, prepared: list[Any], *rest: Any) -> Any:
        asked.append(len(prepared))
        return real(home, state, prepared, *rest)

    monkeypatch.setattr(cells, "generate", counting)
    text = BRIEF + "  - {id: again, ask: 'Where and when does the story take place?'}\n"
    assert counts(report(home, text, documents("One text."), tmp_path)) == (2, 2, 0, 0, 0)
    assert asked == [1]


def test_a_stopped_job_goes_on(home: Home, documents: Add, tmp_path: Path) -> None:
    ids = documents("One text.", "Another text.", "A third.")
    done: list[int] = []
    result = report(home, BRIEF, ids, tmp_path, on_progress=lambda p: done.append(p.done),
                    should_stop=lambda: bool(done) and done[-1] >= 1)
    assert counts(result) == (3, 1, 0, 0, 2)
    assert home.reports.get(result.job).state == result.state == "stopped"
    rest = run.run(home, home.reports.get(result.job[:5]))
    assert counts(rest) == (3, 2, 1, 0, 0)
    assert rest.state == "done"


def test_a_job_cancelled_elsewhere_stops(home: Home, documents: Add, tmp_path: Path) -> None:
    job = create(home, parse("t.yaml", BRIEF), documents("One text.", "Another text."), tmp_path, SHORT)

    def cancel(progress: Progress) -> None:
        if progress.done:
            home.reports.set_state(job.id, "cancelled")

    result = run.run(home, job, cancel)
    assert (result.state, result.done, result.missing) == ("cancelled", 1, 1)
    assert home.reports.get(job.id).state == "cancelled"


def test_a_sample_says_what_the_rest_takes(home: Home, documents: Add, tmp_path: Path) -> None:
    ids = documents("One text.", "Another text.", "A third text of some more words.")
    result = report(home, BRIEF, ids, tmp_path, sample=1)
    assert counts(result) == (1, 1, 0, 0, 0)
    assert result.rest is not None
    assert (result.rest.documents, result.rest.cells) == (2, 2)
    assert result.rest.tokens > 0
    assert result.rest.seconds_estimate > 0
    assert home.reports.get(result.job).state == "stopped"
    whole = run.run(home, home.reports.get(result.job))
    assert counts(whole) == (3, 2, 1, 0, 0)
    assert report(home, BRIEF, ids, tmp_path, sample=3).rest is None


def test_a_document_removed_in_mid_job_is_named(home: Home, documents: Add, tmp_path: Path) -> None:
    ids = documents("One text.", "Another text.")
    title = home.documents.get(ids[1]).title

    def remove(progress: Progress) -> None:
        if progress.done == 1 and any(document.id == ids[1] for document in home.documents.list()):
            library.remove(home, ids[1])

    result = report(home, BRIEF, ids, tmp_path, on_progress=remove)
    assert counts(result) == (2, 1, 0, 1, 0)
    assert f"{title} / setting: the document was removed" in Path(result.files[0]).read_text("utf-8").replace("\\", "")
    again = run.run(home, home.reports.get(result.job))
    assert counts(again) == (2, 0, 1, 1, 0)
    assert facts(again)["documents"][1]["removed"]


def test_a_document_removed_while_it_is_asked(
    home: Home, documents: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = documents("One text.", "Another text.")
    real = cells.generate

    def removing(home: Home, *rest: Any) -> Iterator[Any]:
        if home.documents.list()[0].id == ids[1]:
            library.remove(home, ids[1])
        return real(home, *rest)

    monkeypatch.setattr(cells, "generate", removing)
    result = report(home, BRIEF, ids[::-1], tmp_path)
    assert counts(result) == (2, 1, 0, 1, 0)
    assert "removed" in facts(result)["cells"][0]["problem"]


@pytest.mark.parametrize("error", [ModelError("too long"), MemoryError(), RuntimeError("not enough memory: you tried")])
def test_a_document_that_cannot_be_read_is_named_and_the_rest_goes_on(
    home: Home, documents: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ids = documents("One text.", "Another text.")
    real = reading.read_state

    def refuse(home: Home, id: str, *more: Any) -> Any:
        if id == ids[0]:
            raise error
        return real(home, id, *more)

    with monkeypatch.context() as broken:
        broken.setattr(reading, "read_state", refuse)
        result = report(home, BRIEF, ids, tmp_path)
    assert counts(result) == (2, 1, 0, 1, 0)
    first = facts(result)["cells"][0]
    assert first["state"] == "failed"
    assert "too long" in first["problem"] or "ran out of memory" in first["problem"]
    assert counts(report(home, BRIEF, ids, tmp_path)) == (2, 1, 1, 0, 0)


def test_of_questions_asked_together_only_the_one_at_fault_fails(
    home: Home, documents: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "questions:\n" + "".join(f"  - {{id: q{n}, ask: 'What is {n}?'}}\n" for n in range(5))
    real = Engine.generate_many
    bad: list[list[int]] = []

    def refuse(engine: Engine, state: Any, questions: list[list[int]], *more: Any) -> Any:
        bad[:] = bad or [list(questions[3])]
        if bad[0] in [list(question) for question in questions]:
            raise RuntimeError("not enough memory: you tried to allocate 9 bytes")
        return real(engine, state, questions, *more)

    monkeypatch.setattr(Engine, "generate_many", refuse)
    result = report(home, text, documents("One text."), tmp_path)
    assert counts(result) == (5, 4, 0, 1, 0)
    assert [cell["question"] for cell in facts(result)["cells"] if cell["state"] == "failed"] == ["q3"]


def test_a_full_disk_loses_no_answer_of_this_run(
    home: Home, documents: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = documents("One text.", "Another text.")
    with monkeypatch.context() as full:
        full.setattr(Cells, "put", lambda *_: (_ for _ in ()).throw(StorageFull("the disk is full: free some space")))
        result = report(home, BRIEF, ids, tmp_path)
    assert counts(result) == (2, 2, 0, 0, 0)
    assert any("the disk is full" in problem for problem in result.problems)
    assert "the disk is full" in Path(result.files[1]).read_text("utf-8")
    assert counts(report(home, BRIEF, ids, tmp_path)) == (2, 2, 0, 0, 0)
    with monkeypatch.context() as full:
        full.setattr(Cells, "claim", lambda *_: (_ for _ in ()).throw(StorageFull("the disk is full")))
        other = report(home, BRIEF.replace("story", "tale"), ids, tmp_path)
    assert counts(other) == (2, 0, 0, 2, 0)


def test_an_unwritable_folder_is_said(home: Home, brief: Template, documents: Add, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")
    with pytest.raises(OncereadError, match="cannot be made"):
        run.run(home, create(home, brief, documents("Text."), tmp_path / "file" / "out", SHORT))


def test_one_file_in_the_way_does_not_stop_the_others(home: Home, documents: Add, tmp_path: Path) -> None:
    (tmp_path / "report.csv").mkdir()
    result = report(home, BRIEF, documents("Text."), tmp_path)
    assert [Path(file).name for file in result.files] == [name for name in files.WRITERS if name != "report.csv"]
    assert "report.csv cannot be written" in result.problems[0]


def test_a_job_without_documents_or_with_unknown_ones(home: Home, brief: Template, tmp_path: Path) -> None:
    with pytest.raises(OncereadError, match="at least one document"):
        create(home, brief, [], tmp_path)
    with pytest.raises(NotFound):
        create(home, brief, ["gone"], tmp_path)


def test_marks_from_documents_and_templates_stay_text(home: Home, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("Text.", "utf-8")
    title = "=cmd|'/C calc'!A0 <img src=x> [a](http://b) # **c**"
    document = library.add(home, [tmp_path / "x.txt"], title=title)
    text = "title: '<script>'\nquestions:\n  - {id: '=a', ask: '![x](y) <b>'}\n"
    result = report(home, text, [document.id], tmp_path)
    markdown, page, table = (Path(file).read_text("utf-8") for file in result.files[:3])
    assert r"\<img src=x\>" in markdown
    assert r"\!\[x\](y) \<b\>" in markdown
    assert "<script" not in page
    assert "&lt;img src=x&gt;" in page
    row = next(csv.DictReader(table.splitlines()))
    assert row["title"] == f"'{title}"
    assert row["question"] == "'=a"


def test_jobs_of_one_person_are_theirs(home: Home, documents: Add, tmp_path: Path) -> None:
    anna = home.of("anna")
    (tmp_path / "a.txt").write_text("Anna's text.", "utf-8")
    document = library.add(anna, [tmp_path / "a.txt"])
    result = report(anna, BRIEF, [document.id], tmp_path)
    assert counts(result) == (1, 1, 0, 0, 0)
    assert home.of("bert").reports.list() == []
    assert isinstance(anna.documents, Documents)
