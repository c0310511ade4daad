"""Kill -9 at random moments of reading, asking, evicting, exporting and importing; then look at what is left."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import torch

from app import dialogue, library, portable, reading, session, states
from app.home import Home
from app.settings import Settings
from model import engine as engines
from model import state as layout
from model.engine import Engine
from model.sampling import Sampling
from model.state import ModelState
from storage.documents import Segment

CHUNK, PAGE = 64, 128
LONGEST = 1.5
"""Seconds a program works before it is killed, at most."""


@dataclass
class Outcome:
    """trials; survived: all acknowledged was there, sound and exact; re-read: tokens of documents not yet finished that
    had to be read again; faults in words; acknowledged: how much was, by kind."""

    trials: int = 0
    survived: int = 0
    reread: int = 0
    faults: list[str] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)


def kills(folder: Path, checkpoint: Path, trials: int, seed: int) -> Outcome:
    """Kill a working program `trials` times, each time on the library that the last one left."""
    chance = random.Random(seed)
    with small_pages():
        engine = Engine.load(checkpoint)
        settings = Settings(folder / "home", checkpoint, "cpu")
        texts = _texts()
        exact = {text: _bits(engine.read(engine.empty(), dialogue.document_ids(engine, text))) for text in texts}
        outcome = Outcome()
        for _ in range(trials):
            said = _killed(settings, engine, texts, folder, chance)
            for words in said:
                kind = words.split()[0]
                outcome.acknowledged[kind] = outcome.acknowledged.get(kind, 0) + 1
            try:
                outcome.reread += _look(_open(settings, engine), said, exact, chance)
                outcome.survived += 1
            except Exception as error:
                outcome.faults.append(f"{type(error).__name__}: {error} (after {said[-3:]})")
            outcome.trials += 1
    return outcome


def _killed(settings: Settings, engine: Engine, texts: list[str], folder: Path, chance: random.Random) -> list[str]:
    """Fork a program that works, and kill it; what it had acknowledged."""
    seed, after = chance.random(), chance.uniform(0.02, LONGEST)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _work(_open(settings, engine), texts, folder, random.Random(seed), writer)
        except BaseException as error:
            os.write(writer, f"failed by itself: {error!r}\n".encode())
        finally:
            os._exit(1)
    os.close(writer)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read().splitlines()


def _work(home: Home, texts: list[str], folder: Path, chance: random.Random, pipe: int) -> None:
    def say(words: str) -> None:
        os.write(pipe, (words + "\n").encode())

    while True:
        text = chance.choice(texts)
        parts = [Segment(0, 0, len(text), "text.txt", None, 1)]
        document = home.documents.add(f"Text {texts.index(text)}", "text", text, parts, [], None)
        say(f"added {document.id}")
        what = chance.choice(["read", "read", "ask", "ask", "evict", "export", "import"])
        if what == "read":
            reading.read(home, document.id)
            say(f"read {document.id}")
        elif what == "ask":
            *_, answer = session.ask(home, document.id, "Who?", sampling=Sampling(max_tokens=2))
            assert isinstance(answer, session.Answer)
            say(f"asked {answer.conversation}")
        elif what == "evict":
            home.snapshots.evict(home.snapshots.bytes() // 2, 0, document.id, states.maker_of(home.engine))
            say("evicted")
        elif what == "export":
            portable.export(home, document.id, folder / "file")
            say("exported")
        elif (folder / "file").exists():
            say(f"imported {portable.bring_in(home, folder / 'file').document}")


def _look(home: Home, said: list[str], exact: dict[str, dict[str, bytes]], chance: random.Random) -> int:
    """Raises AssertionError for what is not as it should be; the tokens that had to be read again."""
    try:
        assert not [words for words in said if words.startswith("failed")], said
        check = library.check(home)
        assert check.sound, f"unsound: {check}"
        finished: set[str] = set()
        for words in said:
            kind, _, id = words.partition(" ")
            if kind in ("added", "imported", "read"):
                assert home.documents.text(id) in exact
            if kind == "asked":
                assert [m.role for m in home.conversations.get(int(id)).messages] == ["user", "assistant"]
            if kind == "read":
                finished.add(id)
            if kind == "evicted":
                finished.clear()
        reread = 0
        for document in chance.sample(home.documents.list(), min(2, len(home.documents.list()))):
            result, state = reading.read_state(home, document.id)
            assert _bits(state) == exact[home.documents.text(document.id)], "another state came out"
            if document.id in finished and "evicted" not in said:
                assert result.tokens_read == 0, f"{result.tokens_read} acknowledged tokens were read again"
            reread += result.tokens_read
        return reread
    finally:
        home.close()


def _open(settings: Settings, engine: Engine) -> Home:
    home = Home(settings)
    home._engine = engine
    return home


def _texts() -> list[str]:
    """Texts of some pages, of which several begin alike."""
    words = "river mill bridge stone winter letter candle garden winding silver road house window keeper".split()  # noqa: SIM905
    long = [" ".join(words[(n * k) % len(words)] for k in range(1, 40)) for n in range(1, 30)]
    return ["\n".join(long[:n]) for n in (2, 4, 6)] + ["\n".join(["Other.", *long[:n]]) for n in (3, 5)]


def _bits(state: ModelState) -> dict[str, bytes]:
    return {name: x.contiguous().view(torch.uint8).numpy().tobytes() for name, x in state.to_tensors().items()}


@contextmanager
def small_pages() -> Iterator[None]:
    """Several chunks and pages in few tokens, committed one by one: for as long as this lasts."""
    with (
        patch.object(engines, "CHUNK", CHUNK), patch.object(engines, "TRITON_CHUNK", CHUNK),
        patch.object(reading, "COMMIT_TOKENS", CHUNK), patch.object(layout, "PAGE", PAGE),
    ):
        yield
