"""The served program as a process: it reads on without a browser, ends cleanly, and goes on after a restart."""

import os
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


def test_reading_goes_on_after_the_tab_closes_and_after_a_restart(
    tmp_path: Path, long_checkpoint: Path, port: int, tab: Page
) -> None:
    home = tmp_path / "home"
    book = write(tmp_path, "diary.txt", "".join(SENTENCE.format(n=n) for n in range(600)))
    with serving(home, long_checkpoint, port):
        tab.goto(f"http://127.0.0.1:{port}/")
        add(tab, book)
        tab.get_by_role("button", name="Read it").click()
        expect(tab.locator("#reading")).to_contain_text("tokens/s")
        address = tab.url
        tab.goto("about:blank")
        before = reading_job(home, long_checkpoint).done
        wait_for(lambda: reading_job(home, long_checkpoint).done > before)
    job = reading_job(home, long_checkpoint)
    assert job.state == "reading"
    assert before < job.done < job.total

    with serving(home, long_checkpoint, port):
        tab.goto(address)
        ask(tab, "What did she write?")
        took = tab.locator("#thread .or-answer .or-took")
        expect(took).to_contain_text("0 of")
        expect(took).to_contain_text("document tokens re-read")


def test_a_taken_port_is_one_line(tmp_path: Path, long_checkpoint: Path, port: int) -> None:
    environment = os.environ | {"ONCEREAD_HOME": str(tmp_path), "ONCEREAD_MODEL": str(long_checkpoint)}
    command = [sys.executable, "-m", "ui.start", "serve", "--port", str(port)]
    with socket.create_server(("127.0.0.1", port)):
        ended = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert f"127.0.0.1:{port}" in ended.stderr


def reading_job(home: Path, model: Path) -> ReadingJob:
    """The only job of a library that a running server uses, too."""
    library = open_home(Settings(home, model, "cpu"))
    try:
        return library.jobs.list()[0]
    finally:
        library.close()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
