"""However a state came to be, the next token's logits are the same to the bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from app import dialogue, latents, library, portable, reading
from app.home import Home
from app.settings import MINI, Settings
from model import engine
from model import state as layout
from model.state import ModelState
from storage.documents import Document, Segment

CHUNK, PAGE = 64, 128
SAMPLE = (Path(__file__).parents[2] / "ui" / "sample.txt").read_text("utf-8")


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks and a full page in few tokens."""
    monkeypatch.setattr(engine, "CHUNK", CHUNK)
    monkeypatch.setattr(layout, "PAGE", PAGE)


def add(home: Home, text: str) -> Document:
    """A document with this text."""
    return home.documents.add("Book", "text", text, [Segment(0, 0, len(text), "book.txt", None, 1)], [], None)


def fresh(home: Home, text: str, _folder: Path) -> ModelState:
    """Read in one go, nothing saved."""
    ids = dialogue.document_ids(home.engine, text)
    before = 0
    for state in home.engine.read_chunks(home.engine.empty(), ids):
        latents.settle(state, home.settings, before)
        before = state.tokens
    return state


def resumed(home: Home, text: str, _folder: Path) -> ModelState:
    """Saved, and loaded by a library that is opened again."""
    reading.read(home, add(home, text).id)
    result, state = reading.read_state(_again(home), add(home, text).id)
    assert result.tokens_read == 0
    return state


def forked(home: Home, text: str, folder: Path) -> ModelState:
    """A fork, after another fork of the same state went on with something else."""
    state = fresh(home, text, folder)
    home.engine.read(state.fork(), range(10, 40))
    return state.fork()


def prefix_reused(home: Home, text: str, _folder: Path) -> ModelState:
    """Gone on with from the state of a text that begins alike."""
    reading.read(home, add(home, text[: int(len(text) * 0.95)]).id)
    result, state = reading.read_state(home, add(home, text).id)
    assert result.tokens_reused % PAGE == 0 < result.tokens_reused < result.tokens
    return state


def imported(home: Home, text: str, folder: Path) -> ModelState:
    """Exported, and imported by another library."""
    document = add(home, text)
    reading.read(home, document.id)
    portable.export(home, document.id, folder / "file")
    library.remove(home, document.id)
    assert portable.bring_in(home, folder / "file").tokens
    result, state = reading.read_state(home, document.id)
    assert result.tokens_read == 0
    return state


def _again(home: Home) -> Home:
    other = Home(replace(home.settings))
    other._engine = home.engine
    return other


WAYS: list[Callable[[Home, str, Path], ModelState]] = [fresh, resumed, forked, prefix_reused, imported]


def next_logits(settings: Settings, folder: Path) -> dict[str, torch.Tensor]:
    """The logits of what follows the same text and question, by the way to the state."""
    home = Home(settings)
    opening = len(dialogue.document_ids(home.engine, ""))
    tokens = len(home.engine.tokenizer.encode(SAMPLE[:2000]))
    pages = opening // PAGE + 1  # with this many full ones, and a part of another
    text = SAMPLE[: int((PAGE * (pages + 0.3) - opening) * 2000 / tokens)]
    logits = {}
    for way in WAYS:
        own = Home(replace(settings, home=folder / way.__name__))
        own._engine = home.engine
        state = way(own, text, folder)
        logits[way.__name__] = home.engine.next_logits(state, dialogue.question_ids(home.engine, (), "Who?"))[1]
        own.close()
    home.close()
    return logits


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("model", ["mini", "tiny"])
def test_every_way_to_a_state_gives_the_same_logits(
    model: str, rounded: bool, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = MINI if model == "mini" else tiny_checkpoint
    logits = next_logits(Settings(tmp_path / "home", folder, "cpu", round_latents=rounded), tmp_path)
    assert len(logits) == len(WAYS)
    assert [name for name in logits if not torch.equal(logits[name], logits["fresh"])] == []
