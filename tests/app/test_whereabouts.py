"""Where lines of code stand is answered by their form: all through a text, word for word, and without the model."""

from pathlib import Path

import pytest

from app import answers, deciding, library, prompts, session, whereabouts
from app.aids import Aids
from app.dialogue import Exchange
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
OTHER = "def lock():\n    pass\n\ndef later():\n    use_key(1)\n\ndef never():\n    return use_key\n"
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
    ("Which functions call open_gate?", "open_mill, lock, gate.py (outside functions)"),
    ("Which functions in this project call open_gate?", "open_mill, lock, gate.py (outside functions)"),
    ("List all callers of open_mill.", "weigh"),
    ("Which functions call use_key?", "later"),  # not those that only name it
    ("Where is open_mill used?", "mill.py"),
    ("Which files call open_gate?", "gate.py, mill.py"),
    ("Which file defines lock?", "mill.py, other.py"),
    ("In which file is Open_Gate defined?", ""),
    ("Is open_gate defined in the file gate.py?", ""),
    ("How many files call open_gate?", ""),
    ("Which file doesn't define open_gate?", ""),
    ("Which function uses the key of a sack to lock the mill?", ""),
    ("Where is the lock of the mill defined?", ""),
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
    assert sorted(answer.answer.split(", ")) == ["gate.py (outside functions)", "lock", "open_mill"]
    ends = {citation.quote.split()[-1] for citation in answer.citations}
    assert ends == {"key)", "self.clerk.open_gate(1)", "open_gate(1)"}
    assert all(citation.verified for citation in answer.citations)
    assert (answer.found, answer.nearest, answer.tokens_generated, answer.tokens_read) == (True, (), 0, 0)


def test_a_name_that_stands_nowhere_is_not_looked_for_by_the_model(home: Home, code: str) -> None:
    looked = deciding.look(home, answers.prepare(home, code, "Which file defines close_the_mill?"))
    assert (looked.whole, looked.pointed, looked.opening) == (True, "", prompts.NOT_FOUND)


def test_a_name_is_taken_from_the_question_before(home: Home, code: str) -> None:
    earlier = [Exchange("Which file defines the function open_mill?", "mill.py")]
    prepared = answers.prepare(home, code, "and who calls it?", earlier)
    assert deciding.look(home, prepared).pointed == "weigh"


LANGUAGES = {
    "pay.ts": "class Pay {\n  async charge(card: Card): Promise<void> {\n    const done = await send(card);\n  }\n}\n"
              "const later = async () => {\n  if (ready) {\n    send(1);\n  }\n};\n",
    "Bill.java": "public class Bill {\n    public double tax(double sum) {\n        return send(sum);\n    }\n}\n",
    "ring.go": "func (r *Ring) Push(x int) {\n\tfor i := range 3 {\n\t\tsend(i)\n\t}\n}\n",
    "ring.rs": "pub(crate) async fn retry(\n    job: Job,\n) -> bool {\n    let k = send(job);\n}\n",
    "run.py": "def outer():\n    def inner():\n        return 1\n    return send(inner())\n\n\ndef one(x): send(x)\n\n"
              "if __name__ == '__main__':\n    send(2)\n",
    "say.py": "def say():\n    return \"send(1)\"  # send(2)\n",
}


def test_functions_are_known_in_other_languages(home: Home, tmp_path: Path) -> None:
    home.aids = Aids(1, True, fit=1.0)
    folder = tmp_path / "code"
    folder.mkdir()
    for name, text in LANGUAGES.items():
        (folder / name).write_text(text, "utf-8")
    document = library.add(home, [folder]).id
    names = {name for _, name in answers.prepare(home, document, "Which functions call send?").lines}
    assert names == {"charge", "later", "tax", "Push", "retry", "outer", "one", "run.py (outside functions)"}


@pytest.mark.parametrize(("name", "text"), [
    ("ring.c", "int push(int x)\n{\n    send(x);\n}\n"), ("all.min.js", "function f(){" + "send(1);" * 200 + "}\n")])
def test_nothing_is_told_by_form_where_one_place_is_not_known(
    home: Home, tmp_path: Path, name: str, text: str
) -> None:
    home.aids = Aids(1, True, fit=1.0)
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "run.py").write_text("def run():\n    send(1)\n", "utf-8")
    (folder / name).write_text(text, "utf-8")
    document = library.add(home, [folder]).id
    assert answers.prepare(home, document, "Which functions call send?").lines == ()


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
