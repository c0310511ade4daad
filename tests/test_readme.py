"""Every command in the README runs, and its pictures and files exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
SHELL = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
COMMANDS = [line.split("#")[0].strip() for line in SHELL.splitlines()]


def test_the_two_commands_are_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert COMMANDS[:2] == ["make run", "make test"]
    assert re.search(r"^run:.*\n\t.*onceread serve$", makefile, re.MULTILINE)
    assert re.search(r"^test:.*\n\t.*-m pytest -n logical --maxprocesses 8 --dist loadfile$", makefile, re.MULTILINE)


def test_the_onceread_commands_run_in_order(tmp_path: Path) -> None:
    commands = [shlex.split(command) for command in COMMANDS if "onceread " in command]
    assert {command[1] for command in commands} == {
        "estimate", "read", "list", "ask", "conversation", "show", "outline", "report", "export", "check", "model",
        "remove", "import",
    }
    environment = os.environ | {"ONCEREAD_HOME": str(tmp_path / "home"), "ONCEREAD_MODEL": "mini"}
    environment["PATH"] = f"{ROOT / '.venv' / 'bin'}:{environment['PATH']}"
    outputs = {}
    for command in commands:
        command = [str(tmp_path / word) if word.startswith("build/") else word for word in command]
        program = [_here(command[0]), *command[1:]]
        done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        outputs[command[1]] = done.stdout
    assert "0 damaged" in outputs["check"]
    assert (tmp_path / "build" / "brief" / "report.md").is_file()


def _here(program: str) -> str:
    """The program of this environment: the README's .venv may be elsewhere where tests run."""
    return str(Path(sys.executable).parent / Path(program).name)


def test_every_command_is_in_the_table() -> None:
    program = [_here("onceread"), "--help"]
    shown = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\| (`.*?`) \|", README, re.MULTILINE)
    table = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(re.findall(r"^    (\w+)", shown, re.MULTILINE)) <= table


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_and_pictures_lead_somewhere(path: str) -> None:
    assert (ROOT / path).exists()


def test_no_placeholder_is_left() -> None:
    assert "@@" not in README
