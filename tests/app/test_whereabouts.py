"""Where lines of code stand is answered by their form: all through a text, word for word, and without the model."""

from pathlib import Path

import pytest

from app import answers, deciding, library, session, whereabouts
from app.aids import Aids
from app.home import Home

MILL = '''"""Opens the mill: open_mill(key)."""


def open_mill(key):
    # open_gate(key) comes first
    return is_the_key_of(open_gate(key), key)


class Clerk:
    def weigh(self, sack):
        return open_mill(self.key) + sack


    def lock(self):
        return self.clerk.open_gate(1)
'''
GATE = "def open_gate(key):\n    return key\n\ndef is_the_key_of(gate, key):\n    return gate == key\n\nopen_gate(1)\n"
CONSTANT = "OPEN_AT: int = 6\n"
OTHER = "def lock():\n    pass\n"
NOTES = "# Notes\n\nclass treasure was buried,\n  so they say; call `open_gate(key)` in the morning.\n"


@pytest.fixture
def code(home: Home, tmp_path: Path) -> str:
    """Two files of code and one of prose, with a model that has its quotes chosen."""
    home.aids = Aids(1, True, fit=1.0)
    folder = tmp_path / "code"
    folder.mkdir()
    for name, text in (("mill.py", MILL), ("gate.py", GATE), ("notes.md", NOTES), ("other.py", OTHER)):
        (folder / name).write_text(text + (CONSTANT if name == "gate.py" else ""), "utf-8")
    return library.add(home, [folder]).id


@pytest.mark.parametrize(("question", "answer"), [
    ("In which file is open_gate defined?", "gate.py"),
    ("Where is the class Clerk defined?", "mill.py"),
    ("Which file defines is_the_key_of?", "gate.py"),  # hardly a word to search by
    ("Where is OPEN_AT defined?", "gate.py"),
    ("Which function calls is_the_key_of?", "open_mill"),
    ("Which function calls open_mill?", "weigh"),
    ("Which functions call open_gate?", "open_mill, lock"),
    ("Which files call open_gate?", "gate.py, mill.py"),
    ("Which file defines lock?", "mill.py, other.py"),
    ("In which file is open_gates defined?", ""),
    ("In which file is Open_Gate defined?", ""),
    ("Is open_gate defined in the file gate.py?", ""),
    ("How many files call open_gate?", ""),
    ("What does open_gate return?", ""),
    ("Where is the treasure defined?", ""),
])  # fmt: skip
def test_what_stands_where_is_told_by_its_form(home: Home, code: str, question: str, answer: str) -> None:
    prepared = answers.prepare(home, code, question)
    assert sorted(name for _, name in prepared.lines) == sorted(answer.split(", ") if answer else [])
    looked = deciding.look(home, prepared)
    assert (looked.whole, looked.asked == 0) == (bool(answer), bool(answer))
    assert sorted(looked.pointed.split(", ")) == sorted(answer.split(", "))


def test_every_place_is_cited_and_the_model_is_not_asked(
    home: Home, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, first = session.ask(home, code, "Which functions call open_gate?")  # reads the document
    monkeypatch.setattr(session._Asking, "_take_up", lambda *_: pytest.fail("the state was taken up"))
    *_, answer = session.ask(home, code, "Which functions call open_gate?")
    assert isinstance(answer, session.Answer)
    assert isinstance(first, session.Answer)
    assert sorted(answer.answer.split(", ")) == ["lock", "open_mill"]
    assert sorted(citation.quote.split()[-1] for citation in answer.citations) == ["key)", "self.clerk.open_gate(1)"]
    assert all(citation.verified for citation in answer.citations)
    assert (answer.found, answer.nearest, answer.tokens_generated, answer.tokens_read) == (True, (), 0, 0)


def test_no_more_places_are_named_than_can_be_read(home: Home, tmp_path: Path) -> None:
    home.aids = Aids(1, True, fit=1.0)
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "sack.py").write_text("def sack():\n    pass\n", "utf-8")
    for n in range(whereabouts.LISTED + 3):
        (folder / f"f{n:02}.py").write_text(f"def f{n}():\n    sack()\n", "utf-8")
    document = library.add(home, [folder]).id
    looked = deciding.look(home, answers.prepare(home, document, "Which functions call sack?"))
    assert looked.pointed.endswith(f"f{whereabouts.LISTED - 1}, and 3 more")
