"""Lines of source code and what they stand in."""

import pytest

from app import source
from app.extract.document import Part
from app.passages import Passage, Places

ONE = """# File: clerk.py
class Clerk:
    def weigh(self, sack):
        heavy = sack.kilos() > 50

        if heavy:
            return self.refuse(sack)
        return take(sack)
"""
TWO = """# File: gate.py
open_gate(1)
"""


def places() -> Places:
    both, end = ONE + TWO, len(ONE)
    return Places(both, [Part(0, end, "clerk.py", None, 1), Part(end, len(both), "gate.py", None, 1)])


def line(words: str) -> Passage:
    at = (ONE + TWO).index(words)
    return Passage(at, at + len(words))


@pytest.mark.parametrize(
    ("words", "around"),
    [
        ("return self.refuse(sack)", "def weigh(self, sack):"),
        ("return take(sack)", "def weigh(self, sack):"),
        ("heavy = sack.kilos() > 50", "def weigh(self, sack):"),
        ("def weigh(self, sack):", "class Clerk:"),
    ],
)
def test_the_definition_around_a_line_begins_above_it_and_is_indented_less(words: str, around: str) -> None:
    found = source.definition_around(places(), line(words))
    assert found is not None
    assert places().words(found) == around


def test_a_line_at_a_files_left_edge_stands_in_no_definition_of_the_file_before() -> None:
    assert source.definition_around(places(), line("open_gate(1)")) is None
    assert source.definition_around(places(), line("class Clerk:")) is None


def test_a_line_says_what_it_calls_and_a_definition_calls_nothing() -> None:
    assert list(source.called("        return self.refuse(sack) or take (2)")) == ["self.refuse", "take"]
    assert list(source.called("def weigh(self, sack):")) == []


def test_a_files_header_is_named_where_there_are_several() -> None:
    assert source.file_header(places(), line("return take(sack)")) == "# File: clerk.py"
    assert source.file_header(Places(ONE, [Part(0, len(ONE), "clerk.py", None, 1)]), line("return take(sack)")) == ""


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("    async def weigh(self, sack):", "weigh"),
        ("export function openGate(key) {", "openGate"),
        ("func (c *Clerk) Weigh(sack Sack) int {", "Weigh"),
        ("pub fn weigh(sack: &Sack) -> u32 {", "weigh"),
        ("class Clerk:", "Clerk"),
        ("    return weigh(sack)", ""),
    ],
)
def test_the_name_that_a_line_defines(line: str, name: str) -> None:
    assert source.defined(line) == name
