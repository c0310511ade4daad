"""A real server with the tiny checkpoint, and a real browser."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.home import Home, open_home
from app.settings import Settings
from app.worker import Worker
from tests import checkpoints
from ui import main, server
from ui.shared import Site

expect.set_options(timeout=20_000)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass
class Running:
    """A running page."""

    url: str
    home: Home
    worker: Worker


@pytest.fixture
def port() -> int:
    """A port of 127.0.0.1 that is free now."""
    return free_port()


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def long_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint, with the real model's limit of a million tokens."""
    return checkpoints.write(tmp_path_factory.mktemp("long") / "tiny", model_max_length=1 << 20)


@pytest.fixture
def home(tmp_path: Path, long_checkpoint: Path) -> Iterator[Home]:
    """An empty library with the tiny model."""
    home = open_home(Settings(tmp_path / "home", long_checkpoint, "cpu"))
    yield home
    home.close()


@pytest.fixture
def worker(home: Home) -> Iterator[Worker]:
    """Its background reader, not started: jobs stay as they are put."""
    worker = Worker(home)
    yield worker
    worker.stop()


@pytest.fixture
def site(home: Home, worker: Worker, port: int) -> Iterator[Running]:
    """The page, served in this process."""
    with served(Site(home, worker), port) as running:
        yield running


@contextmanager
def served(site: Site, port: int) -> Iterator[Running]:
    """Serve a page on a port of 127.0.0.1, with its background reader at work."""
    page = main.build(site)
    site.start()
    server.launch(page, site, "127.0.0.1", port)
    try:
        yield Running(f"http://127.0.0.1:{port}/", site.home, site.worker)
    finally:
        page.close(verbose=False)
        site.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, driven by Playwright."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("Chromium is not installed, and the page is tested in it: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A browser tab that fails the test for an error of a script, and for any request to another host."""
    wrong: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    page.on("request", lambda request: wrong.append(request.url) if _is_remote(request.url) else None)
    yield page
    page.close()
    assert wrong == []


def _is_remote(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
