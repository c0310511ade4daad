"""Reports: templates checked with a clear line, cells asked once, files safe to open."""

import json
from pathlib import Path

import pytest

from app import library, reports, session
from app.errors import OncereadError, TemplateError
from app.home import Home
from model.errors import ModelError
from model.sampling import Sampling

SHORT = Sampling(max_tokens=4)
BRIEF = "title: Book brief\nquestions:\n  - id: setting\n    ask: Where and when does the story take place?\n"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The contract's smallest template."""
    path = tmp_path / "brief.yaml"
    path.write_text(BRIEF, "utf-8")
    return path


def documents(home: Home, tmp_path: Path, *texts: str) -> list[str]:
    """Documents of these texts."""
    paths = [tmp_path / f"text-{n}.txt" for n in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, "utf-8")
    return [library.add(home, [path]).id for path in paths]


def test_only_new_cells_are_asked(home: Home, template: Path, tmp_path: Path) -> None:
    first, second = documents(home, tmp_path, "One text.", "Another text.")
    out = tmp_path / "out"
    one = reports.run_report(home, template, [first], out, sampling=SHORT)
    assert (one.cells, one.done, one.reused, one.failed) == (1, 1, 0, 0)
    both = reports.run_report(home, template, [first, second], out, sampling=SHORT)
    assert (both.cells, both.done, both.reused) == (2, 1, 1)
    template.write_text(BRIEF + "  - id: people\n    ask: Who?\n", "utf-8")
    more = reports.run_report(home, template, [first, second], out, sampling=SHORT)
    assert (more.cells, more.done, more.reused) == (4, 2, 2)
    other_settings = reports.run_report(home, template, [first], out, sampling=Sampling(max_tokens=5))
    assert other_settings.reused == 0


def test_the_files_say_what_was_answered(home: Home, template: Path, tmp_path: Path) -> None:
    (document,) = documents(home, tmp_path, "One text.")
    seen: list[tuple[int, int]] = []
    result = reports.run_report(
        home, template, [document], tmp_path / "out", lambda done, total: seen.append((done, total)), SHORT
    )
    assert seen == [(0, 1), (1, 1)]
    markdown, facts = (Path(file).read_text("utf-8") for file in result.files)
    (cell,) = json.loads(facts)["cells"]
    assert (cell["document"], cell["question"]) == (document, "setting")
    assert cell["raw"] is not None
    assert "# Book brief" in markdown
    assert "Where and when does the story take place?" in markdown


def test_a_failed_cell_is_recorded_and_asked_again(
    home: Home, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (document,) = documents(home, tmp_path, "One text.")

    def refuse(*_: object, **__: object) -> None:
        raise ModelError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(session, "ask", refuse)
        result = reports.run_report(home, template, [document], tmp_path / "out", sampling=SHORT)
    assert (result.done, result.failed) == (0, 1)
    assert "out of memory" in Path(result.files[0]).read_text("utf-8")
    again = reports.run_report(home, template, [document], tmp_path / "out", sampling=SHORT)
    assert (again.done, again.failed) == (1, 0)


def test_markup_from_documents_and_templates_stays_text(home: Home, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("Text.", "utf-8")
    document = library.add(home, [tmp_path / "x.txt"], title="<img src=x> [a](http://b) # **c**")
    template = tmp_path / "t.yaml"
    template.write_text("title: '<script>'\nquestions:\n  - {id: a, ask: '![x](y)'}\n", "utf-8")
    result = reports.run_report(home, template, [document.id], tmp_path / "out", sampling=SHORT)
    markdown = Path(result.files[0]).read_text("utf-8")
    assert r"\<img src=x\>" in markdown
    assert r"\!\[x\](y)" in markdown
    assert r"# \<script\>" in markdown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("title: [", "is not valid YAML"),
        ("just words", "needs a title and a list of questions"),
        ("title: a\nquestions: []", "needs a title and a list of questions"),
        ("questions:\n  - ask: Who?", "question 1 .* needs both an id and an ask"),
        ("questions:\n  - {id: a, ask: 'Who?'}\n  - {id: a, ask: 'Where?'}", "uses the question id 'a' twice"),
        ("questions:\n  - {id: a, ask: 'Who?', colour: red}", "unknown key: colour"),
    ],
)
def test_a_broken_template_is_one_clear_line(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(TemplateError, match=line) as error:
        reports.load_template(path)
    assert "\n" not in str(error.value)


def test_missing_template_and_unwritable_folder(home: Home, template: Path, tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="cannot be read"):
        reports.load_template(tmp_path / "nowhere.yaml")
    (tmp_path / "file").write_text("in the way", "utf-8")
    with pytest.raises(OncereadError, match="cannot be made"):
        reports.run_report(home, template, documents(home, tmp_path, "Text."), tmp_path / "file" / "out")
