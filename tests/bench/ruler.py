"""Made-up facts hidden in a long text, of the kinds of RULER (Hsieh et al., 2024, arXiv 2404.06654).

The generators are our own.
Needles (one fact asked for, or several at once), key-value look-up, variables handed on over several steps, the most
frequent word, and where a function is defined and who calls it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SYLLABLES = ("bar", "ken", "lom", "mir", "nus", "rat", "sil", "tov", "vex", "zan", "dor", "elk", "fim", "gor", "hup")
THINGS = ("harbour toll", "signal lamp", "guild number", "lost anchor", "winter ration", "bell weight", "ferry price")


@dataclass(frozen=True)
class Case:
    """A question about a text and every string that its answer must hold. depth: where the fact stands, from 0 to 1."""

    kind: str
    question: str
    answers: tuple[str, ...]
    depth: float


def name(source: random.Random) -> str:
    """A name that no book holds."""
    return "".join(source.sample(SYLLABLES, 3)).title()


def haystack(filler: str, chars: int, seed: int, needles: int = 8, several: int = 1) -> tuple[str, list[Case]]:
    """A text of about `chars` characters with facts of every kind between its paragraphs, and their questions.

    several: of how many lists of three needles and of how many chains of variables; of 40 pairs of a key and its value
    eight are asked for."""
    source = random.Random(seed)
    facts: list[tuple[float, str]] = []
    cases: list[Case] = []
    for n in range(needles):
        depth, owner, thing, value = n / max(1, needles - 1), name(source), source.choice(THINGS), _number(source)
        facts.append((depth, f"The {thing} of {owner} is {value}."))
        cases.append(Case("needle", f"What is the {thing} of {owner}?", (value,), depth))
    for _ in range(several):
        owner, values = name(source), [_number(source) for _ in range(3)]
        facts += [(source.random(), f"One of the keys of {owner} is {value}.") for value in values]
        cases.append(Case("needles (3)", f"What are all the keys of {owner}?", tuple(values), 0.5))
    pairs: dict[str, str] = {}
    while len(pairs) < 40:  # a key that came twice would have two values
        pairs.setdefault(name(source).lower(), _number(source))
    depth = source.random()
    facts.append((depth, "\n".join(f"{key}: {value}" for key, value in pairs.items())))
    asked = list(pairs.items())[::5]
    cases += [Case("key-value", f"What is the value of {key}?", (value,), depth) for key, value in asked]
    for _ in range(several):
        chain = [name(source).upper() for _ in range(3)]
        depths = sorted(source.random() for _ in chain)
        value = _number(source)
        said = [f"VAR {chain[0]} = {value}.", *(f"VAR {b} = VAR {a}." for a, b in pairwise(chain))]
        facts += list(zip(depths, said, strict=True))
        question = f"What is the number that VAR {chain[-1]} holds?"
        cases.append(Case("variables (3 hops)", question, (value,), depths[-1]))
    left = max(0, chars - sum(len(fact) + 2 for _, fact in facts))
    while len(filler) < left:
        filler += "\n\n" + filler
    return _spread(filler[:left].split("\n\n"), facts), cases


def frequent_word(chars: int, seed: int) -> tuple[str, list[Case]]:
    """A list of made-up words of about `chars` characters, one of them far more often than the others."""
    source = random.Random(seed)
    common, others = name(source).lower(), [name(source).lower() for _ in range(40)]
    words = [common if source.random() < 0.2 else source.choice(others) for _ in range(chars // 10)]
    lines = [" ".join(words[n : n + 12]) for n in range(0, len(words), 12)]
    return "\n".join(lines), [Case("frequent word", "Which word occurs most often?", (common,), 0.5)]


def code(chars: int, seed: int) -> tuple[dict[str, str], list[Case]]:
    """Files of made-up functions that call one another, about `chars` characters in all, and questions about them."""
    source = random.Random(seed)
    names = list(dict.fromkeys(f"{name(source).lower()}_{name(source).lower()}" for _ in range(max(6, chars // 150))))
    files: dict[str, str] = {}
    cases = []
    for n, function in enumerate(names):
        path = f"part{n // 8:03}.py"
        called = names[n - 1]
        body = f"def {function}(first, second):\n    total = first * {source.randrange(9, 99)} + second\n"
        files[path] = files.get(path, "") + body + f"    return {called}(total, {source.randrange(9, 99)})\n\n\n"
        if n % max(1, len(names) // 4) == 1:
            cases.append(Case("code: definition", f"In which file is {function} defined?", (path,), n / len(names)))
            cases.append(Case("code: caller", f"Which function calls {called}?", (function,), n / len(names)))
    return files, cases


def _spread(paragraphs: Sequence[str], facts: Sequence[tuple[float, str]]) -> str:
    """The facts as paragraphs of their own, each at its depth."""
    placed = [(n / len(paragraphs), paragraph) for n, paragraph in enumerate(paragraphs)]
    return "\n\n".join(words for _, words in sorted([*placed, *facts], key=lambda entry: entry[0]))


def _number(source: random.Random) -> str:
    return str(source.randrange(10_000, 10**6))
