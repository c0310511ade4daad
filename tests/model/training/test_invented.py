"""Invented facts are in their text, and what is asked for without being there is refused."""

import random
import re
from pathlib import Path

from model.training import calls, invented
from model.training.tasks import Sample, read_form

FORM = read_form(Path(__file__).parents[3] / "model" / "training" / "prompts.json")
FILES = [f"# File: src/{name}.py (repository x)\ndef {name}_of(a):\n    return a\n" + "# words\n" * 200
         for name in ("grind", "carry")]


def held(sample: Sample) -> list[bool]:
    """Whether each answered turn's quote stands in the document."""
    return [turn.reply.split('"')[1] in sample.document for turn in sample.turns if turn.reply != FORM.not_found]


def test_facts_are_where_they_are_quoted_from() -> None:
    refused = 0
    for n in range(60):
        source = random.Random(n)
        for sample in (invented.needle("one\ntwo\nthree", FORM, source), invented.lookup(5, FORM, source)):
            assert held(sample)
            assert all(held(sample))
            refused += sum(turn.reply == FORM.not_found for turn in sample.turns)
    assert refused > 10


def test_the_file_that_defines_a_name_is_the_answer() -> None:
    sample = invented.which_file(FILES, FORM, random.Random(1))
    assert [turn.reply.split("Answer: ")[1] for turn in sample.turns] == ["src/grind.py", "src/carry.py"]
    assert all(held(sample))


def test_a_module_s_functions_are_alike_and_each_is_called_by_one() -> None:
    endings = set()
    for seed in range(12):
        path, text = invented.module(30, random.Random(seed))
        blocks = [re.match(r"(?:def|function|func) (\w+)\(", block) for block in text.split("\n\n")]
        names = [head[1] for head in blocks if head]
        assert len(blocks) == len(names) == len(set(names)) > 25
        calling = {found[1]: head[1] for head in blocks if head and (found := re.search(r"= (\w+)\(", head.string))}
        assert len(calling) > 10
        assert calling.keys() <= set(names)
        found = calls.call(text, random.Random(seed))
        assert found is not None
        assert found.answer == next(by for name, by in calling.items() if name in found.question)
        endings.add(path.rsplit(".", 1)[1])
    assert endings == {"py", "js", "go"}
