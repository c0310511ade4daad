"""Templates: the smallest one, everything one can say, and one clear line with line and key for what is wrong."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from app.errors import TemplateError
from app.reports import template
from tests.app.reports.conftest import ACROSS, BRIEF

FULL = """\
title: Review for {who}
description: What {who} wants to know
variables:
  who: the {role}
  role: reader
sections:
  - title: Terms
    questions:
      - {id: term, ask: 'How long does it run?', kind: number, quote: required, column: Term}
      - {id: law, ask: 'Which law?', kind: one of, options: [English, 'French, for {role}'], length: 5}
  - title: All
    across: true
    questions:
      - {id: sum, ask: 'Compare them for {who}.', from: [law]}
      - {id: all, ask: 'And in all?'}
"""


def test_the_smallest_template() -> None:
    found = template.parse("brief.yaml", BRIEF)
    assert found.title == "Book brief"
    assert [(q.id, q.ask, q.kind, q.column) for q in found.questions] == [
        ("setting", "Where and when does the story take place?", "text", "setting")
    ]
    assert found.across == ()


def test_everything_a_template_can_say() -> None:
    found = template.parse("full.yaml", FULL, {"role": "lawyer"})
    assert (found.title, found.description) == ("Review for the lawyer", "What the lawyer wants to know")
    assert found.variables == {"role": "lawyer", "who": "the lawyer"}
    term, law = found.questions
    assert (term.kind, term.quote, term.column, term.length) == ("number", True, "Term", None)
    assert (law.kind, law.options, law.length, law.quote) == ("one of", ("English", "French, for lawyer"), 5, False)
    assert [(q.id, q.sources) for q in found.across] == [("sum", ("law",)), ("all", ("term", "law"))]


def test_questions_across_come_after_what_they_are_made_from() -> None:
    assert [q.id for q in template.parse("x", ACROSS).across] == ["common", "gist"]
    turned = ACROSS.replace("column: In common}", "from: [gist]}").replace("from: [common, setting]", "from: [people]")
    assert [q.id for q in template.parse("x", turned).across] == ["gist", "common"]


def test_the_title_of_a_template_without_one_is_its_files_name(tmp_path: Path) -> None:
    (tmp_path / "my brief.yaml").write_text(BRIEF.split("\n", 1)[1], "utf-8")
    assert template.load(tmp_path / "my brief.yaml").title == "my brief"


ONE = "questions:\n  - {id: a, ask: 'Who?'"
LONG = "questions:\n  - id: a\n    ask: Who?\n"
TOGETHER = "sections:\n  - title: a\n    across: true\n    questions:\n      - {id: a, ask: 'Who?'}"
CIRCLE = ACROSS.replace("column: In common}", "from: [gist]}")

BROKEN = [
    ("title: [", "line 1 is not valid YAML"),
    ("title: a\nquestions: - b", "line 2 is not valid YAML"),
    ("a: &a [x]\nb: *c\n", "line 2 is not valid YAML"),
    ("just words", "needs a title and a list of questions"),
    ("title: a", "line 1: needs questions, or sections with questions"),
    ("title: 2020-01-01\n" + ONE + "}", "line 1, title: should be text"),
    ("title: a\nquestions: []", "line 2, questions: is empty"),
    ("questions:\n  - ask: Who?", r"line 2, questions\[1\]: needs id"),
    ("questions:\n  - {id: a, ask: ' '}", r"line 2, questions\[1\].ask: is empty"),
    (ONE + "}\n  - {id: a, ask: Why}", r"line 3, questions\[2\].id: the question id 'a' is used twice"),
    (LONG + "    colour: red", r"line 4, questions\[1\].colour: unknown key; known here: ask, column"),
    (LONG + "    id: b", r"line 4, questions\[1\].id: given twice, first on line 2"),
    (LONG + "    kind: essay", r"line 4, questions\[1\].kind: 'essay' is none of: text, one of"),
    (ONE + ", kind: one of}", "one of what"),
    (ONE + ", options: [b, c]}", "only an answer of `kind: one of`"),
    (ONE + ", kind: one of, options: [yes, no]}", r"options\[1\]: should be text .*not True \(and 1 more\)"),
    (ONE + ", length: many}", "length: should be a whole number"),
    (ONE + ", length: 0}", "length: 0 is less than"),
    (ONE + ", from: [b]}", "only questions of a section with `across: true`"),
    ("questions:\n  - {id: a, ask: 'Who is {x}?'}", r"line 2, questions\[1\].ask: there is no variable 'x'"),
    ("variables: {a: '{b}', b: '{a}'}\n" + ONE + "}", r"line 1, variables.[ab]: goes in a circle: [ab] <- [ab]"),
    (CIRCLE, r"line 11, sections\[1\].questions\[2\].from: goes in a circle: gist <- common <- gist"),
    (ACROSS.replace("[common, setting]", "[nobody]"), "line 11, .*from: there is no question 'nobody'"),
    (TOGETHER, "nothing to put together"),
    ("x" * 1_000_001, "more than 1,000,000"),
]


@pytest.mark.parametrize(("text", "line"), BROKEN, ids=[line for _, line in BROKEN])
def test_a_broken_template_is_one_clear_line(text: str, line: str) -> None:
    with pytest.raises(TemplateError, match=line) as error:
        template.parse("broken.yaml", text)
    assert "broken.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_variable_that_is_not_there() -> None:
    with pytest.raises(TemplateError, match="has no variable 'colour'; it has: who, role"):
        template.parse("full.yaml", FULL, {"colour": "red"})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"cannot be read \(No such file or directory\); shipped ones: "):
        template.load(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes("title: é".encode("latin-1"))
    with pytest.raises(TemplateError, match="not UTF-8"):
        template.load(tmp_path / "latin.yaml")


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(template.SCHEMA)


@pytest.mark.parametrize("name", template.shipped())
def test_shipped_templates_are_valid(name: str) -> None:
    found = template.load(name)
    assert found.description
    assert found.questions
