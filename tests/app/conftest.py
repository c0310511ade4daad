"""A library on the tiny checkpoint, and a text for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.home import Home
from app.settings import Settings
from tests import checkpoints, readers

WORDS = "river mill bridge stone winter letter candle garden winding silver road house window keeper".split()  # noqa: SIM905


@pytest.fixture
def settings(tmp_path: Path, tiny_checkpoint: Path) -> Settings:
    """The tiny checkpoint and a data folder of this test's own."""
    return Settings(tmp_path / "home", tiny_checkpoint, "cpu")


@pytest.fixture
def home(settings: Settings) -> Iterator[Home]:
    """An open library on the tiny checkpoint."""
    opened = Home(settings)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def pointing_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with a reader beside it."""
    checkpoint = checkpoints.write(tmp_path_factory.mktemp("pointing") / "checkpoint")
    readers.write(checkpoint)
    return checkpoint


@pytest.fixture
def pointing_home(tmp_path: Path, pointing_checkpoint: Path) -> Iterator[Home]:
    """An open library on it."""
    opened = Home(Settings(tmp_path / "pointing home", pointing_checkpoint, "cpu"))
    yield opened
    opened.close()


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A text of about 6,000 tokens for the tiny tokenizer: three chunks."""
    lines = [" ".join(WORDS[(n * k) % len(WORDS)] for k in range(1, 12)) + f" {n}." for n in range(88)]
    path = tmp_path / "book.txt"
    path.write_text("\n".join(lines), "utf-8")
    return path
