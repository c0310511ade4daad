"""The served program as a process: it reads on without a browser, ends cleanly, and goes on after a restart."""

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

from playwright.sync_api import Page, expect

from app.home import open_home
from app.settings import Settings
from storage.jobs import ReadingJob
from tests.ui.test_page import add, ask, write

ROOT = Path(__file__).parents[2]
SENTENCE = "On day {n} the keeper wrote {n} lines in her book about the wind, the bees and the light.\n"


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


def test_a_taken_port_is_one_line(tmp_path: Path, long_checkpoint: Path, port: int) -> None:
    environment = os.environ | {"ONCEREAD_HOME": str(tmp_path), "ONCEREAD_MODEL": str(long_checkpoint)}
    command = [sys.executable, "-m", "ui.start", "serve", "--port", str(port)]
    with socket.create_server(("127.0.0.1", port)):
        ended = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert f"127.0.0.1:{port}" in ended.stderr


def reading_job(home: Path, model: Path) -> ReadingJob:
    """The newest job of a library that a running server uses, too."""
    library = open_home(Settings(home, model, "cpu"))
    try:
        return library.jobs.list()[-1]
    finally:
        library.close()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
