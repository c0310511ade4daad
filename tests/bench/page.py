"""The page under use: memory over many questions, and twenty people asking at once (the tiny model)."""

import gc
import tempfile
import time
from pathlib import Path

import psutil

from app import library, reading
from app.home import Home
from app.preferences import Preferences
from app.settings import Settings
from tests import checkpoints
from ui.address import Address
from ui.ask import Asking

QUESTIONS, PEOPLE = 500, 20
WORDS = "The bees of Anvers fly over the sea in the morning, and come home at night. "


def run() -> list[str]:
    """Measure; returns lines of Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        model = checkpoints.write(Path(folder) / "tiny", model_max_length=1 << 20)
        home = Home(Settings(Path(folder) / "home", model, "cpu"))
        (Path(folder) / "bees.txt").write_text(WORDS * 50, "utf-8")
        document = library.add(home, [Path(folder) / "bees.txt"]).id
        reading.read(home, document)
        lines = [*_memory(home, document), "", _together(home, document)]
        home.close()
    return lines


def _memory(home: Home, document: str) -> list[str]:
    """Resident memory as questions are asked, each in a conversation of its own."""
    asking, process = Asking(), psutil.Process()
    lines = ["| questions asked | resident memory |", "|---|---|"]
    for n in range(QUESTIONS + 1):
        if n % (QUESTIONS // 10) == 0:
            gc.collect()
            lines.append(f"| {n} | {process.memory_info().rss / 1e6:.1f} MB |")
        asked = asking.ask(home, "", Address(document), f"What of the bees, {n}?", Preferences(max_tokens=16))
        asked.finished.wait()
        assert asked.answer is not None, asked.error
    return lines


def _together(home: Home, document: str) -> str:
    """Everybody asks at the same moment."""
    asking, started = Asking(), time.monotonic()
    chosen = Preferences(max_tokens=32)
    under_way = [asking.ask(home, f"p{n}", Address(document), f"And, {n}?", chosen) for n in range(PEOPLE)]
    told = [0] * PEOPLE
    while not all(asked.finished.wait(0.01) for asked in under_way):
        told = [max(most, asked.ahead) for most, asked in zip(told, under_way, strict=True)]
    answered = sum(asked.answer is not None for asked in under_way)
    seconds = time.monotonic() - started
    return f"{PEOPLE} people at once: {answered} answered in {seconds:.1f} s; told of up to {max(told)} before them"
