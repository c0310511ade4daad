"""Takes the README's picture: the real page with the real model, the sample book read, a question answered.

    .venv/bin/python -m tests.ui.screenshot ["a question"]

Minutes on two cores. The library it makes is thrown away.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from app.home import open_home
from app.settings import Settings, model_folder
from app.worker import Worker
from tests.ui.conftest import FLAGS, free_port
from ui import main, server
from ui.shared import Site

PICTURE = Path(__file__).parents[2] / "docs" / "screenshot.png"
MINUTES = 60_000


def take(question: str, folder: Path) -> None:
    """Read the sample, ask, and save what the browser shows."""
    home = open_home(Settings(folder, model_folder("mini"), "cpu"))
    worker, port = Worker(home), free_port()
    site = Site(home, worker)
    page = main.build(site)
    worker.start()
    server.launch(page, site, "127.0.0.1", port)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        tab = browser.new_page(viewport={"width": 1280, "height": 760})
        tab.set_default_timeout(20 * MINUTES)
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.click(".or-welcome [data-do=sample]")
        tab.fill("#question textarea", question)
        tab.press("#question textarea", "Enter")
        tab.wait_for_selector("#thread .or-took")
        tab.wait_for_timeout(1_000)
        tab.evaluate("scrollTo(0, 0)")
        tab.screenshot(path=PICTURE)
        browser.close()
    page.close(verbose=False)
    worker.stop()
    home.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        take(" ".join(sys.argv[1:]) or "What were the three brothers called?", Path(folder))
