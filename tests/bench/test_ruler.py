"""What is asked about made-up texts has one answer."""

import re

from tests.bench import ruler


def test_every_key_has_one_value() -> None:
    for seed in range(40):
        text, cases = ruler.haystack("A paragraph.\n\n" * 200, 4000, seed)
        keys = [line.split(":")[0] for line in re.findall(r"^[a-z]+: \d+$", text, re.M)]
        assert len(keys) == len(set(keys)) == 40
        asked = [case for case in cases if case.kind == "key-value"]
        assert len(asked) == 8
        assert all(f"{case.question[21:-1]}: {case.answers[0]}\n" in text + "\n" for case in asked)
