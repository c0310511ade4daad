"""Samples whose facts are made up: needles in a book, key-value lists, and files that define a name."""

from __future__ import annotations

import random
import re

from model.training.tasks import PromptForm, Sample, Turn

UNANSWERABLE = 0.24
LONGEST_QUOTE = 160
THINGS = ("access code", "favourite colour", "room number", "license number", "secret word", "home town", "best friend",
          "badge number", "password", "ship", "account number", "horse")
NEEDLES = ("The {thing} of {owner} is {value}.", "{owner}'s {thing} is {value}.",
           "Remember: the {thing} of {owner} is {value}.", "It was noted that {value} is the {thing} of {owner}.")
SYLLABLES = ("ba", "ke", "lo", "mi", "nu", "ra", "si", "to", "ve", "zan", "dor", "el")
MORE = ("hup", "mir", "lom", "gra", "fen", "qui", "bor", "tas", "wel", "ith", "sko", "pla")
"""Further syllables, for names in lessons that the model's own samples do not have."""
LANGUAGES = (("py", "def {}({}):", ""), ("js", "function {}({}) {{", "\n}"), ("go", "func {}({} int) int {{", "\n}"))
DEFINES = re.compile(r"^(?:async def|def|class|func|fn|pub fn|struct|module) (\w{4,})[^\n]*", re.M)


def name(source: random.Random) -> str:
    """A name that no text holds."""
    return "".join(source.choices(SYLLABLES, k=3)).title()


def needle(text: str, form: PromptForm, source: random.Random) -> Sample:
    """Invented facts hidden in a text, asked for by name."""
    lines, facts = text.split("\n"), []
    for _ in range(source.choice((1, 2, 3))):
        thing, owner = source.choice(THINGS), name(source)
        value = source.choice((str(source.randrange(1000, 10**6)), name(source)))
        said = source.choice(NEEDLES).format(thing=thing, owner=owner, value=value)
        facts.append((said, f"What is the {thing} of {owner}?", value))
        lines.insert(source.randrange(len(lines) + 1), said)
    turns = [Turn(q, form.reply.format(quote=s, answer=v), "needle") for s, q, v in facts]
    if source.random() < UNANSWERABLE:
        missing = Turn(f"What is the {source.choice(THINGS)} of {name(source)}?", form.not_found, "needle")
        turns.insert(source.randrange(len(turns) + 1), missing)
    return Sample("\n".join(lines), turns)


def lookup(lines: int, form: PromptForm, source: random.Random) -> Sample:
    """Key-value lines, some of the keys asked."""
    pairs = {f"{name(source).lower()}_{source.choice(THINGS).replace(' ', '_')}": str(source.randrange(10, 10**5))
             for _ in range(lines)}
    sep = source.choice((": ", " = ", ","))
    turns = [Turn(f"What is the value of {k}?", form.reply.format(quote=f"{k}{sep}{pairs[k]}", answer=pairs[k]), "kv")
             for k in source.sample(list(pairs), min(4, len(pairs)))]
    if source.random() < UNANSWERABLE:
        missing = Turn(f"What is the value of {name(source).lower()}_size?", form.not_found, "kv")
        turns.insert(source.randrange(len(turns) + 1), missing)
    return Sample("\n".join(f"{k}{sep}{v}" for k, v in pairs.items()), turns)


def alike(count: int, source: random.Random) -> list[tuple[str, str, str]]:
    """Facts of things whose names are alike, as entries of a list or as sentences: of each what says it, a question and
    its answer."""
    names = list(dict.fromkeys("".join(source.choices((*SYLLABLES, *MORE), k=source.choice((2, 3, 3)))).lower()
                               for _ in range(count)))
    values = [source.choice((str(source.randrange(10, 10**6)), "".join(source.choices(SYLLABLES, k=4)).title()))
              for _ in names]
    thing = source.choice(THINGS)
    said, asked = source.choice(ALIKE)
    sep = source.choice((": ", " = ", " - ", ", ", "\t"))
    return [(said.format(key=key, sep=sep, value=value, thing=thing), asked.format(key=key, thing=thing), value)
            for key, value in zip(names, values, strict=True)]


ALIKE = (("{key}{sep}{value}", "What is the value of {key}?"), ("{key}{sep}{value}", "What is {key}?"),
         ("{key} {thing}{sep}{value}", "What is the {thing} of {key}?"),
         *((form.replace("{owner}", "{key}"), "What is the {thing} of {key}?") for form in NEEDLES))
"""What is said of things whose names are alike, and what is asked."""


def which_file(texts: list[str], form: PromptForm, source: random.Random) -> Sample:
    """Beginnings of several source files; which one defines a name?"""
    cut = [t[: source.randrange(1000, 4000)].rsplit("\n", 1)[0] for t in texts]
    turns = []
    for text in cut:
        path = re.match(r"# File: (\S+)", text)
        names = list(DEFINES.finditer(text))
        if path and names:
            found = source.choice(names)
            question = source.choice(("Which file defines {}?", "In which file is `{}` defined?")).format(found[1])
            reply = form.reply.format(quote=found[0].strip()[:LONGEST_QUOTE], answer=path[1])
            turns.append(Turn(question, reply, "file"))
    return Sample("\n\n".join(cut), turns[:4])


def module(functions: int, source: random.Random) -> tuple[str, str]:
    """The path and the text of a source file whose functions have made-up names, much alike, and call each other."""
    names = list(dict.fromkeys(f"{name(source)}_{name(source)}".lower() for _ in range(functions)))
    ending, head, foot = source.choice(LANGUAGES)
    blocks = []
    for own, called in zip(names, source.sample(names, len(names)), strict=True):
        value, other = name(source).lower(), name(source).lower()
        body = source.sample([f"    {other} = {called}({value}, {source.randrange(100)})",
                              f"    {value} = {value} * {source.randrange(2, 100)}",
                              f"    log(\"{other}\", {value})"], source.choice((2, 3)))
        blocks.append("\n".join([head.format(own, value), *body, f"    return {source.choice((other, value))}{foot}"]))
    return f"{name(source)}/{name(source)}.{ending}".lower(), "\n\n".join(blocks)
