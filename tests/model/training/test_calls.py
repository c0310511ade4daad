"""Questions on code: what is quoted stands in it, and what is answered is right."""

import random

from model.training import calls

SHORT = """class Clerk:
    def weigh(self, sack):
        kilos = sack.kilos()
        return round(kilos)


def receive(sack):
    return weigh(sack)
"""
LONG = "def sell(sack):\n" + "    price = 1\n" * 90 + "    refuse(sack)\n"


def test_a_definition_is_quoted_under_its_files_header() -> None:
    found = [calls.definition("mill/clerk.py", SHORT, random.Random(n)) for n in range(20)]
    for each in found:
        assert each is not None
        assert each.answer == "mill/clerk.py"
        header, line = each.quote.split(" … ")
        assert header == "# File: mill/clerk.py"
        assert line in each.shown
        assert any(each.question.rstrip("?").replace("`", "").find(name) > 0 for name in ("Clerk", "weigh", "receive"))


def test_a_call_is_answered_by_the_function_around_it() -> None:
    callers = {"kilos": "weigh", "round": "weigh", "weigh": "receive"}
    seen = set()
    for n in range(60):
        found = calls.call(SHORT, random.Random(n))
        assert found is not None
        [name] = [name for name in callers if f" {name}" in found.question or f"`{name}" in found.question]
        assert found.answer == callers[name]
        assert found.quote.startswith(f"def {found.answer}(")
        assert f"{name}(" in found.quote.split(":", 1)[1]
        seen.add(name)
    assert seen == set(callers)


def test_a_long_function_is_quoted_by_its_first_line_and_the_call() -> None:
    found = calls.call(LONG, random.Random(1))
    assert found is not None
    assert found.quote == "def sell(sack): … refuse(sack)"
    assert "refuse(sack)" in found.shown


def test_code_without_calls_or_definitions_gives_none() -> None:
    assert calls.call("total = 1\n", random.Random(1)) is None
    assert calls.definition("a.py", "total = 1\n", random.Random(1)) is None
