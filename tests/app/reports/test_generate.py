"""Questions of a report, side by side: each gets the reply that it gets alone."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from app import answers, library, reading, session
from app.aids import Aids
from app.home import Home
from app.reports import generate as module
from app.reports.generate import generate
from model.engine import Engine
from model.reader import Reader
from model.sampling import Sampling
from tests import readers
from tests.app.test_turns import asker

SHORT = Sampling(max_tokens=6)
QUESTIONS = [f"Where is the {thing}?" for thing in ("silver candle", "winter road", "zeppelin Norge", "mill bridge")]


@pytest.fixture
def document(home: Home, tiny_engine: Engine, book: Path) -> str:
    """A document; the model computes in float32, where rounding makes no other words."""
    home._engine = tiny_engine
    return library.add(home, [book]).id


@pytest.mark.parametrize(
    "aids",
    [Aids(0), Aids(1, True), Aids(2, False), Aids(2, True, fit=0.0), Aids(2, True, fit=1.0, refuse=-1e9),
     Aids(1, True, fit=0.0, refuse=1e9)],
)  # fmt: skip
def test_replies_are_those_that_asking_gives(home: Home, document: str, aids: Aids) -> None:
    home.aids = aids
    read, state = reading.read_state(home, document)
    prepared = [answers.prepare(home, document, question, sampling=SHORT) for question in QUESTIONS]
    found = {}
    for number, decided, generation in generate(home, state, prepared, lambda: False):
        assert number not in found
        found[number] = answers.finish(home, decided, read, generation)
    assert len(found) == len(QUESTIONS)
    for number, question in enumerate(QUESTIONS):
        *_, alone = session.ask(home, document, question, sampling=SHORT, keep=False)
        assert isinstance(alone, session.Answer)
        timing = {"seconds": 0.0, "seconds_to_first_token": 0.0, "reason": "", "tokens_reused": 0, "tokens_read": 0}
        assert replace(found[number], **timing) == replace(alone, **timing)


@pytest.mark.parametrize("point", [-1e9, -9.0, 0.0])
@pytest.mark.parametrize("has_reader", [False, True])
def test_words_are_pointed_to_as_asking_does(
    pointing_home: Home, pointing_checkpoint: Path, book: Path, tmp_path: Path, point: float, has_reader: bool
) -> None:
    home = pointing_home
    home._engine = Engine.load(pointing_checkpoint, dtype=torch.float32)
    if has_reader:
        folder = readers.write(tmp_path)
        home.__dict__["reader"] = Reader.load(folder, torch.float32, torch.device("cpu"))
    home.aids = Aids(2, True, fit=1.0, sure=0.0, point=point)
    document = library.add(home, [book]).id
    read, state = reading.read_state(home, document)
    questions = [*QUESTIONS, "Is the mill on the bridge?"]
    prepared = [answers.prepare(home, document, question, sampling=SHORT) for question in questions]
    made = {number: answers.finish(home, decided, read, generation)
            for number, decided, generation in generate(home, state, prepared, lambda: False)}
    for number, question in enumerate(questions):
        *_, alone = session.ask(home, document, question, sampling=SHORT, keep=False)
        assert isinstance(alone, session.Answer)
        assert made[number].raw == alone.raw
        assert made[number].pointed == alone.pointed
    pointed = [made[number].pointed for number in range(len(questions))]
    may = point == -1e9
    if may or point == 0.0:
        assert pointed == [may, may, False, may, False]


def test_a_report_pauses_while_another_process_asks(home: Home, document: str) -> None:
    _, state = reading.read_state(home, document)
    prepared = [answers.prepare(home, document, question, sampling=SHORT, evidence=0) for question in QUESTIONS]
    numbers: list[int] = []
    report = threading.Thread(
        target=lambda: numbers.extend(n for n, *_ in generate(home, state, prepared, lambda: False))
    )
    with asker(home.settings.home) as asking:
        report.start()
        report.join(1)
        assert numbers == []
        asking.communicate()
        report.join(30)
    assert sorted(numbers) == [0, 1, 2, 3]


def test_a_request_to_stop_is_heard_between_any_two_steps(
    home: Home, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.aids = Aids(2, True, fit=0.0)
    _, state = reading.read_state(home, document)
    prepared = [answers.prepare(home, document, question, sampling=SHORT) for question in QUESTIONS]
    settled: list[int] = []
    real = module.choose
    monkeypatch.setattr(module, "choose", lambda *rest: (settled.append(1), real(*rest))[1])
    replies = list(generate(home, state, prepared, lambda: len(settled) == 1))
    assert [number for number, *_ in replies] == [2]  # which was refused at once
    assert len(settled) == 1
