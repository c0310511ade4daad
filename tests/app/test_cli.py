"""The command line's contract: JSON keys, exit codes, one line for an error, Ctrl-C that loses nothing."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app import cli, library
from app.commands.reading import ReadingBar
from app.home import Home
from app.reading import Progress
from app.settings import Settings
from app.turns import WAITING
from model.engine import Engine
from storage.jobs import ReadingJob

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny checkpoint and this test's data folder, as a person would name them."""
    monkeypatch.setenv("ONCEREAD_HOME", str(settings.home))
    monkeypatch.setenv("ONCEREAD_MODEL", str(settings.model))
    monkeypatch.setenv("ONCEREAD_DEVICE", "cpu")


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """Run a command that succeeds; its JSON."""
    assert cli.main([*map(str, arguments), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def fail(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that fails; its one line."""
    assert cli.main(list(map(str, arguments))) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    return lines[0]


def test_read_ask_show_remove(capsys: pytest.CaptureFixture[str], book: Path) -> None:
    estimate = run(capsys, "estimate", book)
    assert estimate.keys() >= {"tokens", "state_bytes", "seconds_estimate", "skipped"}
    read = run(capsys, "read", book)
    expected = {"document", "title", "tokens", "tokens_read", "tokens_reused", "seconds", "state_bytes", "skipped"}
    assert read.keys() >= expected
    assert read["tokens"] == read["tokens_read"] == estimate["tokens"]
    assert run(capsys, "read", book)["tokens_reused"] == read["tokens"]

    answer = run(capsys, "ask", read["document"][:6], "Who ran the mill?", "--max-tokens", "5")
    assert answer.keys() >= {
        "answer", "citations", "found", "tokens_reused", "tokens_read", "seconds_to_first_token", "conversation",
    }
    assert answer["tokens_reused"] == read["tokens"]
    more = run(capsys, "ask", "book", "And?", "--conversation", str(answer["conversation"]), "--max-tokens", "5")
    assert more["conversation"] == answer["conversation"]

    assert [document["document"] for document in run(capsys, "list")["documents"]] == [read["document"]]
    assert read["coverage"] == estimate["coverage"]
    shown = run(capsys, "show", "book")
    assert (shown["coverage"]["files"], shown["coverage"]["gaps"], shown["outline"]) == (1, [], [])
    assert (shown["complete"], shown["tokens_read"]) == (True, read["tokens"])
    assert run(capsys, "check") == {"snapshots": 2, "damaged": [], "orphaned": [], "texts": [], "facts": [], "file": []}
    file = book.with_name("book.onceread")
    assert run(capsys, "export", "book", file)["tokens"] == read["tokens"]
    assert run(capsys, "remove", "book")["document"] == read["document"]
    assert run(capsys, "list") == {"documents": []}
    back = run(capsys, "import", file, "--max-state", "1GB")
    assert (back["document"], back["tokens"], back["conversations"]) == (read["document"], read["tokens"], 1)
    assert "no size" in fail(capsys, "list", "--max-state", "much")


def test_the_model_says_what_it_is(capsys: pytest.CaptureFixture[str], tiny_checkpoint: Path) -> None:
    facts = run(capsys, "model")
    plan, again = facts.pop("plan"), run(capsys, "model", tiny_checkpoint, "--context", "100")
    assert plan["context"] == 32_768
    assert again.pop("plan")["context"] == 100
    assert facts == again
    assert facts.keys() >= {
        "parameters", "active_parameters", "layers", "fingerprint", "device", "weights_bytes",
        "state_bytes_per_token", "state_bytes_fixed",
    }
    assert facts["active_parameters"] < facts["parameters"]
    assert facts["layers"] == 5
    assert cli.main(["model"]) == 0
    said = capsys.readouterr().out
    assert "fp8     not for experts of this width" in said
    assert "fits" in next(line for line in said.splitlines() if line.startswith("bf16 "))
    assert "cannot be int4" in fail(capsys, "estimate", tiny_checkpoint / "config.json", "--weights", "int4")


def test_report_asks_each_cell_once(capsys: pytest.CaptureFixture[str], book: Path, tmp_path: Path) -> None:
    document = run(capsys, "read", book)["document"]
    template = tmp_path / "brief.yaml"
    template.write_text("title: Brief\nquestions:\n  - id: who\n    ask: Who?\n  - id: where\n    ask: Where?\n")
    first = run(capsys, "report", template, document, "-o", tmp_path / "out")
    assert (first["cells"], first["done"], first["reused"], first["failed"]) == (2, 2, 0, 0)
    again = run(capsys, "report", template, document, "-o", tmp_path / "out")
    assert (again["done"], again["reused"]) == (0, 2)
    assert again["job"] == first["job"]
    names = ["report.md", "report.html", "report.csv", "report.xlsx", "report.json"]
    assert [Path(file).name for file in again["files"]] == names
    assert all(Path(file).is_file() for file in again["files"])


def test_report_jobs_are_listed_resumed_and_cancelled(
    capsys: pytest.CaptureFixture[str], book: Path, tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text("A short text.", "utf-8")
    ids = [run(capsys, "read", path)["document"] for path in (tmp_path / "short.txt", book)]
    template = tmp_path / "t.yaml"
    template.write_text("variables: {who: cook}\nquestions:\n  - {id: a, ask: 'Is the {who} there?', length: 1}\n")
    sampled = run(
        capsys, "report", template, *ids, "-o", tmp_path / "out", "--sample", "1", "--set", "who=miller"
    )
    assert (sampled["cells"], sampled["done"], sampled["rest"]["documents"]) == (1, 1, 1)
    (job,) = run(capsys, "report", "--list")["jobs"]
    assert (job["job"], job["state"]) == (sampled["job"], "stopped")
    resumed = run(capsys, "report", "--resume", job["job"][:6])
    assert (resumed["cells"], resumed["done"], resumed["reused"]) == (2, 1, 1)
    assert "Is the miller there?" in (tmp_path / "out" / "report.md").read_text("utf-8")
    assert run(capsys, "report", "--cancel", job["job"])["state"] == "done"
    assert "no report job 'zz'" in fail(capsys, "report", "--resume", "zz")
    assert "has no value" in fail(capsys, "report", template, ids[0], "-o", tmp_path, "--set", "who")


def test_damage_is_found_by_check(capsys: pytest.CaptureFixture[str], book: Path, settings: Settings) -> None:
    run(capsys, "read", book)
    from storage.database import Database

    database = Database(settings.home / "onceread.sqlite")
    with database.writing() as session:
        session.connection().exec_driver_sql("UPDATE tensors SET data = zeroblob(length(data)) WHERE name LIKE '%conv'")
    database.close()
    assert cli.main(["check", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["snapshots"] == 2
    assert "layers.0.conv" in json.dumps(facts["damaged"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["read", "nowhere.txt"], "no such file"),
        (["ask", "nothing", "Who?"], "no document"),
        (["show", "nothing"], "no document"),
        (["model", "nowhere"], "nowhere is no folder"),
        (["report", "nowhere.yaml", "nothing", "-o", "out"], "no document"),
        (["conversation", "show", "7"], "`onceread show DOCUMENT` lists"),
        (["several", "show", "7"], "no answer 7"),
        (["serve"], "start it with `onceread serve`"),
        (["read", "nowhere.txt", "--device", "abacus"], "abacus"),
    ],
)
def test_errors_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], line: str, book: Path) -> None:
    if "--device" in arguments:
        arguments[1] = str(book)
    assert line in fail(capsys, *arguments)


def test_sampling_out_of_range_is_one_line(capsys: pytest.CaptureFixture[str], book: Path) -> None:
    run(capsys, "read", book)
    assert "temperature" in fail(capsys, "ask", "book", "Who?", "--temperature", "-1")


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["read"], ["ask", "book"], ["report", "a.yaml", "b"], ["report", "-o", "x"], ["several", "show"],
     ["serve", "--port", "99999"], ["serve", "--port", "x"], ["serve", "--port", "-1"], ["serve", "--port", "0"]],
)  # fmt: skip
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2


def test_ctrl_c_while_reading_saves_and_goes_on(
    capsys: pytest.CaptureFixture[str], book: Path, tmp_path: Path
) -> None:
    long = tmp_path / "long.txt"
    text = book.read_text("utf-8")
    long.write_text("\n".join(f"{n} {text}" for n in range(3)), "utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_READ, "read", str(long)],
        cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True,
    )
    assert process.stderr is not None
    seen = ""
    while "2.05k" not in seen:  # the first chunk is read
        seen += process.stderr.read(1)
        assert process.poll() is None, seen
    process.send_signal(signal.SIGINT)
    seen += process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "Traceback" not in seen
    assert "they are saved, and reading goes on from there" in seen
    rest = run(capsys, "read", long)
    assert rest["tokens_reused"] >= 2048
    assert rest["tokens_reused"] + rest["tokens_read"] == rest["tokens"]


SLOW_READ = """
import sys, time
from app import cli, reading
report = reading._Reading._report
def slowly(self, *facts):
    report(self, *facts)
    time.sleep(0.5)
reading._Reading._report = slowly
sys.exit(cli.main(sys.argv[1:]))
"""


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    for command in ("read", "estimate", "ask", "list", "show", "remove", "report", "serve", "check", "model"):
        assert f"    {command} " in shown


def test_the_command_starts_quickly() -> None:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "ui.start", "list"], check=True, cwd=ROOT)
    assert time.perf_counter() - started < 20
    code = "import gc, sys, ui.start; ui.start.main(); print(gc.isenabled(), *sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, "list"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    collecting, *modules = done.stderr.split()
    assert collecting == "True"
    assert "torch" in modules
    assert {"gradio", "transformers", "openpyxl", "jsonschema", "langchain_text_splitters"}.isdisjoint(modules)


def test_people_are_added_and_given_what_nobody_owns(
    capsys: pytest.CaptureFixture[str], book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = run(capsys, "read", book)["document"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n" * 2))
    assert run(capsys, "user", "add", "ann", "--take") == {"name": "ann", "documents": 1}
    assert run(capsys, "user", "list") == {"people": ["ann"]}
    assert run(capsys, "show", document)["document"] == document  # the command line sees everything
    assert "is there already" in fail(capsys, "user", "add", "ann")
    assert run(capsys, "user", "password", "ann")["name"] == "ann"
    assert run(capsys, "user", "remove", "ann") == {"name": "ann"}
    assert "no 'ann'" in fail(capsys, "user", "remove", "ann")
    assert "whom?" in fail(capsys, "user", "add")


def test_the_bar_says_why_it_stands_still(capsys: pytest.CaptureFixture[str]) -> None:
    with ReadingBar() as bar:
        bar(Progress(10, 100, 0.0, None, WAITING))
        bar(Progress(20, 100, 5.0, 16.0))
    shown = capsys.readouterr().err
    assert shown.index(WAITING) < shown.rindex("reading")


def test_an_answer_is_shown_without_its_labels_and_named_by_show(
    capsys: pytest.CaptureFixture[str], book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = run(capsys, "read", book)["document"]
    quote = book.read_text("utf-8").split(".")[0]
    reply = f'Quote: "{quote}"\nAnswer: the miller'
    monkeypatch.setattr(Engine, "generate", lambda self, state, *_: (
        self.next_logits(state, _[0]), iter(self.tokenizer.encode(reply)))[1])  # fmt: skip
    assert cli.main(["ask", "book", "Who ran the mill?"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"the miller\n[1] “{quote}”: book.txt, line 1\n")
    assert cli.main(["show", document]) == 0
    assert "\nconversation 1: Who ran the mill?\n" in capsys.readouterr().out


def test_answers_about_several_documents_are_listed_shown_exported_and_removed(
    capsys: pytest.CaptureFixture[str], book: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("The lamp burns oil.", "utf-8")
    for path in (book, other):
        run(capsys, "read", path)
    assert run(capsys, "several", "list") == {"answers": []}
    assert cli.main(["ask", "book", "Who ran the mill?", "--also", "other", "--max-tokens", "5"]) == 0
    assert "(kept: `onceread several show 1`)" in capsys.readouterr().out
    (kept,) = run(capsys, "several", "list")["answers"]
    assert (kept["number"], kept["question"], len(kept["documents"])) == (1, "Who ran the mill?", 2)
    assert cli.main(["several", "list"]) == 0
    assert "   1  Who ran the mill?  (book, other; just now)" in capsys.readouterr().out
    assert run(capsys, "several", "show", "1").keys() >= {"question", "answer", "citations", "documents"}
    assert run(capsys, "several", "export", "1", "-o", tmp_path / "one.md")["number"] == 1
    assert (tmp_path / "one.md").read_text("utf-8").startswith("# Who ran the mill?")
    assert "neither .md nor .json" in fail(capsys, "several", "export", "1", "-o", tmp_path / "one.txt")
    assert run(capsys, "several", "remove", "1") == {"number": 1}
    assert run(capsys, "several", "list") == {"answers": []}


def test_list_says_what_the_page_does_with_a_document(
    capsys: pytest.CaptureFixture[str], home: Home, book: Path
) -> None:
    document = library.add(home, [book])
    home.jobs.put(replace(ReadingJob.new(document.id), state="reading", waiting=WAITING))
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().out.endswith(f"  book  ({WAITING})\n")
    (listed,) = run(capsys, "list")["documents"]
    assert listed["job"] == {"state": "reading", "waiting": WAITING, "error": None}


def test_output_that_nobody_takes_is_no_traceback() -> None:
    command = [sys.executable, "-m", "ui.start", "list"]
    ours, theirs = os.pipe()
    os.close(ours)  # as `head` does when it has seen enough
    with os.fdopen(theirs, "w") as unread, Path("/dev/full").open("w") as full:
        seen = subprocess.run(command, stdout=unread, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        lost = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (seen.returncode, seen.stderr) == (1, "")
    assert lost.returncode == 1
    assert lost.stderr == "onceread: the output cannot be written (No space left on device)\n"
