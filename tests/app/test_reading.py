"""Reading is durable, resumes to the same bits, and says what it reused and why."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from app import library, reading
from app.errors import ReadingStopped
from app.home import Home
from app.settings import Settings
from app.turns import WAITING
from model.errors import DeviceError
from tests.app.test_turns import asker

READ_AND_DIE = """
import os, signal, sys
from pathlib import Path
from app import library, reading
from app.home import Home
from app.settings import Settings

reading.COMMIT_TOKENS = 2048
home = Home(Settings(Path(sys.argv[1]), Path(sys.argv[2]), "cpu"))
document = library.add(home, [Path(sys.argv[3])])

def die(progress):
    if progress.done > 4096:
        os.kill(os.getpid(), signal.SIGKILL)

reading.read(home, document.id, die)
"""


def saved(home: Home, document_id: str) -> dict[str, bytes]:
    """The bytes of every tensor of the state at the document's end."""
    (snapshot,) = (each for each in home.snapshots.find(document_id) if each.complete)
    tensors = home.snapshots.load(snapshot.id)
    return {name: tensor.contiguous().view(torch.uint8).numpy().tobytes() for name, tensor in tensors.items()}


def test_a_document_is_read_once(home: Home, book: Path) -> None:
    document = library.add(home, [book])
    first = reading.read(home, document.id)
    assert (first.tokens_read, first.tokens_reused, first.reason) == (first.tokens, 0, "not read before")
    assert first.tokens > 4096
    again = reading.read(home, document.id)
    assert (again.tokens_read, again.tokens_reused, again.reason) == (0, first.tokens, "saved state found")
    result, state = reading.read_state(home, document.id)
    assert state.tokens == result.tokens
    assert state.nbytes == result.state_bytes == home.snapshots.find(document.id)[-1].bytes


def test_a_state_the_gpu_has_no_room_for_is_said_in_one_line(
    home: Home, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = library.add(home, [book])
    reading.read(home, document.id)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.50 MiB.")

    with monkeypatch.context() as patch:
        patch.setattr(type(home.snapshots), "load", full)
        with pytest.raises(DeviceError, match="no memory left"):
            reading.read(home, document.id)
    assert reading.read(home, document.id).tokens_read == 0


def test_reading_that_pauses_says_why(home: Home, book: Path) -> None:
    document = library.add(home, [book])
    seen: list[reading.Progress] = []
    thread = threading.Thread(target=lambda: reading.read(home, document.id, seen.append))
    with asker(home.settings.home) as asking:
        thread.start()
        thread.join(1)
        assert [(progress.done, progress.waiting) for progress in seen] == [(0, ""), (0, WAITING)]
        asking.communicate()
        thread.join(30)
    assert [progress.waiting for progress in seen[2:]] == [""] * (len(seen) - 2)
    assert seen[-1].done == seen[-1].total


def test_progress_covers_every_token_and_ends_with_all(home: Home, book: Path) -> None:
    document = library.add(home, [book])
    seen: list[reading.Progress] = []
    result = reading.read(home, document.id, seen.append)
    assert [progress.done for progress in seen] == [0, 2048, 4096, result.tokens]
    assert {progress.total for progress in seen} == {result.tokens}
    assert seen[0].seconds_left is None
    assert seen[-1].seconds_left == 0
    assert all(progress.tokens_per_second > 0 for progress in seen[1:])


def test_stopping_saves_and_going_on_ends_in_the_same_bits(home: Home, book: Path, tmp_path: Path) -> None:
    document = library.add(home, [book])
    stops = iter([False, True])
    with pytest.raises(ReadingStopped, match=r"stopped after 4,096 of \d,\d+ tokens; they are saved"):
        reading.read(home, document.id, should_stop=lambda: next(stops))
    info = library.info(home, home.documents.get(document.id))
    assert (info.tokens_read, info.complete) == (4096, False)
    rest = reading.read(home, document.id)
    assert (rest.tokens_reused, rest.reason) == (4096, "reading goes on after 4,096 tokens saved earlier")
    resumed = saved(home, document.id)

    other = Home(Settings(tmp_path / "other", home.settings.model, "cpu"))
    reading.read(other, library.add(other, [book]).id)
    assert saved(other, document.id) == resumed
    other.close()


def test_a_killed_process_loses_nothing_committed(home: Home, book: Path, tmp_path: Path) -> None:
    settings = Settings(tmp_path / "killed", home.settings.model, "cpu")
    arguments = [sys.executable, "-c", READ_AND_DIE, str(settings.home), str(settings.model), str(book)]
    done = subprocess.run(arguments, cwd=Path(__file__).parents[2], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL

    killed = Home(settings)
    document = library.add(killed, [book])
    rest = reading.read(killed, document.id)
    assert rest.tokens_reused == 4096
    reading.read(home, library.add(home, [book]).id)
    assert saved(killed, document.id) == saved(home, document.id)
    killed.close()


def test_another_prompt_reads_again_and_says_so(home: Home, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = library.add(home, [book])
    reading.read(home, document.id)
    monkeypatch.setattr("app.states.PROMPT_FORMAT", "another/1")
    again = reading.read(home, document.id)
    assert again.tokens_reused == 0
    assert again.reason == "the saved state was made with a different prompt"


def test_a_damaged_state_is_named_and_read_again(home: Home, book: Path) -> None:
    document = library.add(home, [book])
    before = reading.read(home, document.id)
    bits = saved(home, document.id)
    with home.database.writing() as session:
        session.connection().exec_driver_sql("UPDATE tensors SET data = zeroblob(length(data)) WHERE name LIKE '%conv'")
    again = reading.read(home, document.id)
    assert again.tokens_read == before.tokens
    assert again.reason.startswith("the saved state was damaged and is read again")
    assert "layers.0.conv" in again.reason
    assert saved(home, document.id) == bits


def test_two_readers_of_a_new_document_do_the_work_once(home: Home, book: Path) -> None:
    """Two programs at once: one reads, the other waits and takes what was read."""
    document = library.add(home, [book])
    other = Home(home.settings)
    results: list[reading.ReadResult] = []
    waiting: list[reading.Progress] = []
    home.engine, other.engine  # loaded before the race  # noqa: B018

    def read_second(progress: reading.Progress) -> None:
        if progress.done == 0 and not second.is_alive():
            second.start()
            time.sleep(0.5)

    second = threading.Thread(target=lambda: results.append(reading.read(other, document.id, waiting.append)))
    results.append(reading.read(home, document.id, read_second))
    second.join()
    assert sorted(result.tokens_read for result in results) == [0, results[0].tokens]
    assert results[1].reason == "another Onceread was reading it; saved state found"
    assert waiting
    assert {progress.total for progress in waiting} == {results[0].tokens}
    assert saved(home, document.id) == saved(other, document.id)
    other.close()


def test_who_waits_can_stop_waiting(home: Home, book: Path) -> None:
    document = library.add(home, [book])
    other = Home(home.settings)
    stopped: list[str] = []

    def stop_second(progress: reading.Progress) -> None:
        if progress.done == 0:
            with pytest.raises(ReadingStopped, match="another Onceread was reading it") as caught:
                reading.read(other, document.id, should_stop=lambda: True)
            stopped.append(str(caught.value))

    reading.read(home, document.id, stop_second)
    assert len(stopped) == 1
    other.close()
