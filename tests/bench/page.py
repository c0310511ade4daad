"""The page under use: memory over many questions (the tiny model), and twenty browsers asking `mini` at once.

It ends by itself, whatever hangs: `MOST_SECONDS`.
"""

import faulthandler
import gc
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from playwright.sync_api import Page, sync_playwright

from app import library, people, reading
from app.home import Home
from app.people import Doors
from app.preferences import Preferences
from app.settings import Settings
from app.worker import Worker
from tests import checkpoints
from tests.ui.conftest import FLAGS, free_port, served
from tests.ui.test_story import PASSWORD, sign_in
from ui.address import Address
from ui.ask import Asking
from ui.shared import Site

QUESTIONS, PEOPLE = 500, 20
MOST_SECONDS = 3600
"""After that the traceback of every thread is printed, and the bench ends."""
ONE_SECONDS = 120
"""An answer takes so long at most."""
WORDS = "The bees of Anvers fly over the sea in the morning, and come home at night. "


def run() -> Iterator[str]:
    """Measure; lines of Markdown as they come."""
    faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
    with tempfile.TemporaryDirectory() as folder:
        model = checkpoints.write(Path(folder) / "tiny", model_max_length=1 << 20)
        home = Home(Settings(Path(folder) / "home", model, "cpu"))
        (Path(folder) / "bees.txt").write_text(WORDS * 50, "utf-8")
        document = library.add(home, [Path(folder) / "bees.txt"]).id
        reading.read(home, document)
        yield from _memory(home, document)
        home.close()
        yield ""
        home = Home(Settings(Path(folder) / "served", Settings.from_environment().model, "cpu"))
        yield _browsers(home, Path(folder) / "bees.txt")
        home.close()
    faulthandler.cancel_dump_traceback_later()


def _memory(home: Home, document: str) -> Iterator[str]:
    """Resident memory as questions are asked, each in a conversation of its own."""
    asking, process = Asking(), psutil.Process()
    yield from ("| questions asked | resident memory |", "|---|---|")
    for n in range(QUESTIONS + 1):
        if n % max(1, QUESTIONS // 10) == 0:
            gc.collect()
            yield f"| {n} | {process.memory_info().rss / 1e6:.1f} MB |"
        asked = asking.ask(home, "", Address(document), f"What of the bees, {n}?", Preferences(max_tokens=16))
        assert asked.finished.wait(ONE_SECONDS), "a question was not answered"
        assert asked.answer is not None, asked.error


def _browsers(home: Home, book: Path) -> str:
    """Everybody signs in with a browser of their own, opens their document, and asks at the same moment."""
    names = [f"person{n}" for n in range(PEOPLE)]
    documents = []
    for name in names:
        people.add(home, name, PASSWORD)
        theirs = home.of(name)
        documents.append(library.add(theirs, [book]).id)
        reading.read(theirs, documents[-1])
        Preferences(max_tokens=32).keep(theirs, name)
    with served(Site(home, Worker(home), Doors(home)), free_port()) as running, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        tabs = [chromium.new_context().new_page() for _ in names]
        for tab, name, document in zip(tabs, names, documents, strict=True):
            tab.set_default_timeout(300_000)
            tab.goto(running.url)
            sign_in(tab, name, PASSWORD)
            tab.wait_for_selector(".or-welcome")
            tab.goto(running.url + Address(document).query)
            tab.wait_for_selector("#question textarea")
        begun = time.monotonic()
        for n, tab in enumerate(tabs):
            tab.fill("#question textarea", f"What of the bees, {n}?")
            tab.press("#question textarea", "Enter")
        asked_in = time.monotonic() - begun
        most, answered = _watch(tabs)
        took = time.monotonic() - begun
        chromium.close()
    return (
        f"{PEOPLE} browsers asked within {asked_in:.1f} s: {answered} shown their own answer within "
        f"{took:.1f} s; told of up to {most} before them"
    )


def _watch(tabs: list[Page]) -> tuple[int, int]:
    """The most that anybody was told to be before them, and how many were shown the answer to their own question."""
    most, left, answered = 0, dict(enumerate(tabs)), 0
    until = time.monotonic() + 600
    while left and time.monotonic() < until:
        for n, tab in list(left.items()):
            if waiting := re.search(r"Waiting: (\d+) question", tab.inner_text("#live")):
                most = max(most, int(waiting[1]))
            if tab.query_selector("#thread .or-took"):
                answered += tab.inner_text("#thread .or-question") == f"What of the bees, {n}?"
                del left[n]
    return most, answered
