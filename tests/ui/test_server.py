"""The served program as a process: it reads on without a browser, ends cleanly, and goes on after a restart."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.home import open_home
from app.library import check
from app.settings import Settings
from storage.jobs import ReadingJob
from tests.ui.conftest import Running
from tests.ui.test_page import add, ask, write

ROOT = Path(__file__).parents[2]
SENTENCE = "On day {n} the keeper wrote {n} lines in her book about the wind, the bees and the light.\n"


def test_what_writes_is_brought_once_the_speed_is_measured(tmp_path: Path, long_checkpoint: Path, port: int) -> None:
    served = (
        "from pathlib import Path; from app.home import open_home; from app.settings import Settings\n"
        "from model.engine import Engine; from ui import server\n"
        "server.speed = lambda home: print('speed')\n"
        "Engine.warm = lambda engine: print('warm')\n"
        "server._wait_for_signal = lambda: print('open')\n"
        f"home = open_home(Settings(Path({str(tmp_path)!r}), Path({str(long_checkpoint)!r}), 'cpu'))\n"
        f"server.serve(home, '127.0.0.1', {port})"
    )
    said = subprocess.run([sys.executable, "-c", served], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert [line for line in said.splitlines() if line in ("speed", "warm", "open")] == ["speed", "warm", "open"]


@contextmanager
def serving(home: Path, model: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """`onceread serve` in a process of its own, ended with Ctrl-C's signal; it must end by itself, without an error."""
    environment = os.environ | {"ONCEREAD_HOME": str(home), "ONCEREAD_MODEL": str(model), "ONCEREAD_DEVICE": "cpu"}
    command = [sys.executable, "-m", "ui.start", "serve", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if f"http://127.0.0.1:{port}/" in line:
            break
    try:
        assert f"http://127.0.0.1:{port}/" in said, said
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0, said + rest
    assert "Traceback" not in rest, rest
    assert "saved" in rest


def test_a_restart_loses_nothing(tmp_path: Path, long_checkpoint: Path, port: int, tab: Page) -> None:
    home = tmp_path / "home"
    note = write(tmp_path, "note.txt", "The lighthouse of Anvers was built in 1712.\n")
    diary = write(tmp_path, "diary.txt", "".join(SENTENCE.format(n=n) for n in range(3000)))
    with serving(home, long_checkpoint, port):
        tab.goto(f"http://127.0.0.1:{port}/")
        add(tab, note)
        tab.get_by_role("button", name="Read it").click()
        ask(tab, "When was it built?")
        expect(tab.locator("#thread .or-took")).to_have_count(1)
        address = tab.url
        tab.locator("#upload input[type=file]").set_input_files(diary)
        tab.get_by_role("button", name="Read it").click()
        expect(tab.locator("#reading [role=progressbar]")).to_be_visible()
        tab.goto("about:blank")  # nobody looks any more
        wait_for(lambda: reading_job(home, long_checkpoint).done > 0)
    stopped = reading_job(home, long_checkpoint)
    assert stopped.state == "reading"
    assert 0 < stopped.done < stopped.total

    with serving(home, long_checkpoint, port):
        wait_for(lambda: reading_job(home, long_checkpoint).done > stopped.done)
        tab.goto(address)
        took = tab.locator("#thread .or-took")
        expect(took).to_have_count(1)
        ask(tab, "And who built it?")
        expect(took).to_have_count(2)
        expect(took.nth(1)).to_have_text(re.compile("^0 of [0-9]+ document tokens re-read"))


def test_page_commands_and_a_report_at_once_read_a_document_once(
    tmp_path: Path, long_checkpoint: Path, port: int, tab: Page
) -> None:
    home = tmp_path / "home"
    diary = write(tmp_path, "diary.txt", "".join(SENTENCE.format(n=n) for n in range(250)))
    template = write(tmp_path, "brief.yaml", BRIEF)
    with serving(home, long_checkpoint, port):
        tab.goto(f"http://127.0.0.1:{port}/")
        add(tab, diary)
        tab.get_by_role("button", name="Read it").click()
        wait_for(lambda: reading_job(home, long_checkpoint).state != "waiting")
        document = reading_job(home, long_checkpoint).document_id
        commands = [
            ["read", diary], ["ask", document, "What did the keeper write?"], ["ask", document, "Where were the bees?"],
            ["report", template, document, "-o", tmp_path / "report"], ["check"],
        ]
        running = [onceread(home, long_checkpoint, *words, "--json") for words in commands]
        expect(tab.locator("#question textarea")).to_be_enabled(timeout=120_000)
        ask(tab, "What of the light?")
        ended = [process.communicate(timeout=120) for process in running]
        expect(tab.locator("#thread .or-took")).to_have_count(1, timeout=60_000)
    assert [process.returncode for process in running] == [0] * len(running), ended
    assert not [said for _, said in ended if "locked" in said or "Traceback" in said]
    read, first, second, report, _ = (json.loads(printed) for printed, _ in ended)
    assert read["document"] == document
    assert (read["tokens_read"], read["tokens_reused"]) == (0, read["tokens"])
    assert (first["tokens_reused"], second["tokens_reused"]) == (read["tokens"], read["tokens"])
    assert first["conversation"] != second["conversation"]
    assert (report["done"], report["failed"]) == (2, 0)
    library = open_home(Settings(home, long_checkpoint, "cpu"))
    try:
        assert check(library).sound
        talks = [len(talk.messages) for talk in library.conversations.list(document)]
        assert talks == [2, 2, 2]
    finally:
        library.close()


BRIEF = """
title: Brief
questions:
  - {id: keeper, ask: "What did the keeper write?"}
  - {id: bees, ask: "Where were the bees?"}
"""


def test_a_taken_port_is_one_line(tmp_path: Path, long_checkpoint: Path, port: int) -> None:
    environment = os.environ | {"ONCEREAD_HOME": str(tmp_path), "ONCEREAD_MODEL": str(long_checkpoint)}
    command = [sys.executable, "-m", "ui.start", "serve", "--port", str(port)]
    with socket.create_server(("127.0.0.1", port)):
        ended = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert f"127.0.0.1:{port}" in ended.stderr


def onceread(home: Path, model: Path, *words: object) -> subprocess.Popen[str]:
    """A command on a library, as another process."""
    environment = os.environ | {"ONCEREAD_HOME": str(home), "ONCEREAD_MODEL": str(model), "ONCEREAD_DEVICE": "cpu"}
    command = [sys.executable, "-m", "ui.start", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)


def reading_job(home: Path, model: Path) -> ReadingJob:
    """The newest job of a library that a running server uses, too, as soon as there is one."""
    library = open_home(Settings(home, model, "cpu"))
    try:
        wait_for(lambda: library.jobs.list() != [])
        return library.jobs.list()[-1]
    finally:
        library.close()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_a_tab_that_is_gone_is_no_fault_of_the_program(
    site: Running, tab: Page, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("uvicorn.error")
    log.addHandler(caplog.handler)
    try:
        tab.goto(site.url)
        # What it was sent is cut off, sooner or later.
        tab.evaluate("fetch('/gradio_api/queue/data?session_hash=gone').then((got) => got.text()).catch(() => '')")
        log.error("another fault")
    finally:
        log.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {"another fault"}
