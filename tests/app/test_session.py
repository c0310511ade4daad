"""Asking: from saved state, in a new process, to the same bits; stopped, resumed, continued."""

import hashlib
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from app import answers, library, reading, session
from app.dialogue import document_ids, question_ids
from app.errors import OncereadError
from app.home import Home
from model.engine import Engine
from model.sampling import Sampler, Sampling
from storage.errors import NotFound

SHORT = Sampling(max_tokens=12)

NEXT_LOGITS = """
import hashlib, sys
from pathlib import Path
from typing import Any
from app import reading
from app.dialogue import question_ids
from app.home import Home
from app.settings import Settings

home = Home(Settings(Path(sys.argv[1]), Path(sys.argv[2]), "cpu"))
read, state = reading.read_state(home, sys.argv[3])
assert read.tokens_read == 0
_, logits = home.engine.next_logits(state, question_ids(home.engine, (), sys.argv[4]))
print(hashlib.sha256(logits.numpy().tobytes()).hexdigest())
"""


@pytest.fixture
def document(home: Home, book: Path) -> str:
    """A document that has been read."""
    document = library.add(home, [book])
    reading.read(home, document.id)
    return document.id


def ask(home: Home, document: str, question: str = "Who?", **more: Any) -> session.Answer:
    """The answer to a question, without its stream."""
    *pieces, answer = session.ask(home, document, question, sampling=SHORT, **more)
    assert isinstance(answer, session.Answer)
    assert "".join(str(piece) for piece in pieces) == answer.raw
    return answer


def stored(raw: str) -> str:
    """A reply as a database holds it: without NUL, which the tiny model likes to write."""
    return raw.replace("\0", "\ufffd")


def test_next_logits_in_a_new_process_are_bit_identical_to_never_having_stopped(
    home: Home, document: str, tiny_engine: Engine
) -> None:
    engine = home.engine
    never_stopped = engine.read(engine.empty(), document_ids(engine, home.documents.text(document)))
    _, logits = engine.next_logits(never_stopped, question_ids(engine, (), "Who ran the mill?"))
    arguments = [str(home.settings.home), str(home.settings.model), document, "Who ran the mill?"]
    done = subprocess.run(
        [sys.executable, "-c", NEXT_LOGITS, *arguments],
        cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True,
    )
    assert done.stdout.strip() == hashlib.sha256(logits.numpy().tobytes()).hexdigest()


def test_only_the_question_is_read(home: Home, document: str) -> None:
    answer = ask(home, document)
    assert answer.tokens_reused == home.documents.get(document).tokens
    assert answer.tokens_read == len(answers.prepare(home, document, "Who?").ids)
    assert answer.reason == "saved state found"
    assert 0 < answer.seconds_to_first_token <= answer.seconds
    assert answer.tokens_generated <= SHORT.max_tokens


def test_answers_repeat_and_do_not_disturb_each_other(home: Home, document: str) -> None:
    before = home.snapshots.find(document)[-1]
    first = ask(home, document)
    ask(home, document, "Where is the mill?")
    assert ask(home, document).raw == first.raw
    after = home.snapshots.find(document)[-1]
    assert (after.tokens, after.bytes) == (before.tokens, before.bytes)


def test_an_unread_document_is_read_first(home: Home, book: Path) -> None:
    document = library.add(home, [book])
    seen: list[reading.Progress] = []
    answer = ask(home, document.id, on_progress=seen.append)
    assert answer.tokens_reused == 0
    assert answer.reason == "not read before"
    assert answer.tokens_read == seen[-1].total + len(answers.prepare(home, document.id, "Who?").ids)


def test_a_conversation_goes_on_with_its_earlier_turns(home: Home, document: str) -> None:
    first = ask(home, document)
    second = ask(home, document, "And then?", conversation=first.conversation)
    assert second.conversation == first.conversation
    talk = home.conversations.get(first.conversation)
    assert [message.text for message in talk.messages] == ["Who?", stored(first.raw), "And then?", stored(second.raw)]
    assert talk.messages[1].facts["model"] == home.engine.fingerprint
    earlier = answers.exchanges(home, document, talk.messages[:2])
    assert second.tokens_read < len(answers.prepare(home, document, "And then?", earlier).ids)
    assert (second.tokens_reused, second.reason) == (first.tokens_reused, session.KEPT)


@pytest.mark.parametrize("limit", [5, 40])
def test_a_conversations_state_in_memory_and_one_rebuilt_from_its_text_are_the_same(
    home: Home, document: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the first reply was cut off at the limit or not."""
    words = home.engine.tokenizer.encode("a mill by the river")
    ends = [*words, *home.engine.stop_ids]
    monkeypatch.setattr(Sampler, "pick", lambda self, *_: ends[min(len(ends) - 1, next(self.count))])
    monkeypatch.setattr(Sampler, "count", property(lambda self: self.__dict__.setdefault("n", count())), raising=False)
    first = list(session.ask(home, document, "Who?", sampling=Sampling(max_tokens=limit)))[-1]
    assert isinstance(first, session.Answer)
    talk = home.conversations.get(first.conversation)
    kept = home.kept.find(talk.id, 2)
    assert kept is not None
    assert kept.state is not None
    earlier = answers.exchanges(home, document, talk.messages)
    going_on = answers.prepare(home, document, "And then?", earlier, read=1)
    again = answers.prepare(home, document, "And then?", earlier)
    _, goes_on = home.engine.next_logits(kept.state, [*kept.left, *going_on.ids])
    _, rebuilt = home.engine.next_logits(reading.read_state(home, document)[1], again.ids)
    assert (goes_on - rebuilt).norm() < 0.05 * rebuilt.norm()
    _, lost = home.engine.next_logits(kept.state, [*kept.left, *going_on.ids][1:])
    assert (lost - rebuilt).norm() > 0.05 * rebuilt.norm()


def test_a_stopped_answer_is_kept_as_far_as_it_came(home: Home, document: str) -> None:
    calls = iter(range(100))
    answer = ask(home, document, should_stop=lambda: next(calls) >= 3)
    assert answer.stopped
    assert answer.tokens_generated == 3
    assert home.conversations.get(answer.conversation).messages[1].text == stored(answer.raw)


def test_a_caller_who_goes_away_loses_nothing(home: Home, document: str) -> None:
    stream = session.ask(home, document, "Who?", sampling=SHORT)
    piece = next(stream)
    stream.close()  # type: ignore[attr-defined]
    (talk,) = home.conversations.list(document)
    assert talk.messages[0].text == "Who?"
    assert talk.messages[1].text.startswith(stored(str(piece)))
    assert ask(home, document).tokens_generated > 0  # and the model is free again


def test_a_report_cell_leaves_no_conversation(home: Home, document: str) -> None:
    assert ask(home, document, keep=False).conversation == 0
    assert home.conversations.list(document) == []


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(home: Home, document: str, question: str) -> None:
    with pytest.raises(OncereadError, match="the question is empty"):
        session.ask(home, document, question)


def test_a_conversation_belongs_to_its_document(home: Home, document: str, tmp_path: Path) -> None:
    talk = ask(home, document).conversation
    other = tmp_path / "other.txt"
    other.write_text("Another text.", "utf-8")
    with pytest.raises(OncereadError, match="about another document"):
        session.ask(home, library.add(home, [other]).id, "Who?", talk)
    with pytest.raises(NotFound):
        session.ask(home, document, "Who?", 999)


def test_quotes_are_located_or_shown_as_not_found(
    home: Home, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = home.documents.text(document)
    line = text.splitlines()[4]
    reply = f'Quote: "{line}"\nQuote: "never said by anyone here"\nAnswer: a mill'
    monkeypatch.setattr(Engine, "generate", lambda *_: iter(home.engine.tokenizer.encode(reply)))
    answer = ask(home, document)
    assert (answer.answer, answer.found) == ("a mill", True)
    good, bad = answer.citations
    assert good.verified
    assert good.place is not None
    assert (good.place.path, good.place.line_start, good.place.line_end) == ("book.txt", 5, 5)
    assert text[good.place.char_start : good.place.char_end] == good.quote == line
    assert (bad.verified, bad.place) == (False, None)
