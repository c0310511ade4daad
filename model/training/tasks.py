"""Task data: conversations over a document, in the exact words of the prompt form.

Each sample is a document (one passage, several, or a long one), one or more questions on it, and the replies to learn:
a verbatim quote and the answer, or the not-found sentence. Every question keeps its corpus row's id as provenance.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model.training import clozes
from model.training.data import plain_tokenizer, rows
from model.training.quotes import quote_for
from model.training.teacher import IM_END, IM_START

FILES = {"qa-squad-train": 0.32, "qa-shifts": 0.24, "qa-fairytale": 0.24, "qa-textbook": 0.1, "qa-misc": 0.06,
         "qa-code": 0.04}
"""Question files and how often a single-passage sample comes from each."""
KINDS = {"single": 0.42, "several": 0.14, "cloze": 0.3, "long": 0.03, "needle": 0.05, "lookup": 0.03,
         "which_file": 0.03}
"""How often a sample is of each kind (the names of the builder's methods)."""
SIZES = {"several": (2500, 5000, 8000, 14000), "cloze": (500, 900, 1500, 3000, 8000),
         "long": (8000, 16000, 30000, 60000), "needle": (2000, 6000, 12000, 30000), "lookup": (8, 20, 60),
         "which_file": (2, 3, 5)}
"""Characters of a document, or lines, or files, that a sample may have."""
LONGEST_ANSWER = 160
UNANSWERABLE = 0.24


@dataclass(frozen=True)
class PromptForm:
    """The words of `app/prompts.py` (kept in prompts.json; a test holds the two equal)."""

    system: str
    not_found: str
    question: str
    """What follows the document; `{question}` is filled in."""
    reply: str
    """`{quote}` and `{answer}` are filled in."""


def read_form(path: Path) -> PromptForm:
    """The form from a JSON file."""
    return PromptForm(**json.loads(path.read_text(encoding="utf-8")))


@dataclass
class Sample:
    """A conversation: the document, and (question, reply, provenance) turns."""

    document: str
    turns: list[tuple[str, str, str]] = field(default_factory=list)


class Builder:
    """Draws samples from the corpus with one random generator."""

    def __init__(self, folder: Path, form: PromptForm, seed: int, limit: int | None = None) -> None:
        self.form, self.random = form, random.Random(seed)
        self.pools: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.by_doc: dict[str, list[str]] = defaultdict(list)
        self.of_context: dict[str, list[dict[str, Any]]] = {}
        for name in FILES:
            contexts: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for n, row in enumerate(rows(folder / f"{name}.jsonl.zst")):
                if limit and n >= limit:
                    break
                if row["answers"] and len(row["answers"][0]) <= LONGEST_ANSWER and not _poor(row, self.random):
                    contexts[row["context"]].append(row)
            self.pools[name] = dict(contexts)
            self.of_context |= contexts
            for context, group in contexts.items():
                self.by_doc[group[0]["doc"]].append(context)
        self.negatives: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for n, row in enumerate(rows(folder / "qa-negatives.jsonl.zst")):
            if not (limit and n >= limit):
                self.negatives[row["context"]].append(row)
        self.contexts = {name: list(pool) for name, pool in self.pools.items()}
        self.short = [c for c in self.of_context if len(c) < 1600]
        self.books = [r["text"] for n, r in enumerate(rows(folder / "books-00.jsonl.zst")) if n < (limit or 60)]
        self.docs = [r["text"] for n, r in enumerate(rows(folder / "docs-00.jsonl.zst")) if n < (limit or 2000)]
        self.code = [r["text"] for n, r in enumerate(rows(folder / "code-00.jsonl.zst")) if n < (limit or 3000)]

    def answerable(self, row: dict[str, Any]) -> tuple[str, str, str] | None:
        """A turn for a question row whose quote can be found in its context, else None."""
        literal = [a for a in row["answers"] if a in row["context"]]
        answer = (literal or row["answers"])[0].strip()
        quote = quote_for(row["context"], row["question"], answer)
        if quote is None:
            return None
        return row["question"], self.form.reply.format(quote=quote, answer=answer), row["id"]

    def unanswerable(self, document: str, docs: set[str]) -> tuple[str, str, str] | None:
        """A turn whose question belongs to another passage of the same documents."""
        near = [r for c in {*self.negatives.keys()} & {document} for r in self.negatives[c]]
        if not near or self.random.random() < 0.4:
            others = [c for d in docs for c in self.by_doc[d] if c not in document]
            if others:
                near = self.of_context[self.random.choice(others)]
        if not near:
            return None
        row = self.random.choice(near)
        if any(a.lower() in document.lower() for a in row["answers"]):
            return None
        return row["question"], self.form.not_found, row["id"]

    def ask(self, document: str, contexts: list[str], most: int) -> Sample:
        """Up to `most` questions about these contexts of a document, some of them unanswerable."""
        sample = Sample(document)
        pool = [row for c in contexts for row in self.of_context.get(c, [])]
        self.random.shuffle(pool)
        docs = {row["doc"] for row in pool} | {r["doc"] for c in contexts for r in self.negatives.get(c, [])}
        for row in [*pool, *[None] * (1 if not pool else 0)]:
            if len(sample.turns) >= most:
                break
            turn = self.unanswerable(document, docs) if row is None or self.random.random() < UNANSWERABLE else None
            turn = turn or (self.answerable(row) if row else None)
            if turn:
                sample.turns.append(turn)
        return sample

    def single(self) -> Sample:
        """One passage, one to four questions."""
        if self.random.random() < 0.04:
            context = self.random.choice(list(self.negatives))
        else:
            context = self.random.choice(self.contexts[self.random.choices(list(FILES), list(FILES.values()))[0]])
        return self.ask(context, [context], self.random.choice((1, 1, 2, 3, 4)))

    def several(self, chars: int) -> Sample:
        """Passages of one article, filled up with others, about `chars` long; questions on some of them."""
        first = self.random.choice(self.short)
        near = list(self.by_doc[self.of_context[first][0]["doc"]])
        at = near.index(first)
        near = [first, *near[at + 1:], *near[:at]]
        chosen: list[str] = []
        while sum(map(len, chosen)) < chars:
            chosen.append(near.pop(0) if near and len(near[0]) < chars else self.random.choice(self.short))
        if self.random.random() < 0.5:
            self.random.shuffle(chosen)
        chosen = list(dict.fromkeys(chosen))
        document = "\n\n".join(chosen)
        return self.ask(document, self.random.sample(chosen, min(len(chosen), 8)), self.random.choice((1, 2, 4, 6, 8)))

    def long(self, chars: int) -> Sample:
        """Passages spread through book text, `chars` long in all."""
        asked = self.random.sample(self.short, 4)
        book = self.filler(max(chars - sum(map(len, asked)), 1000))
        paragraphs = book.split("\n")
        for context in asked:
            paragraphs.insert(self.random.randrange(len(paragraphs) + 1), f"\n{context}\n")
        return self.ask("\n".join(paragraphs), asked, 6)

    def cloze(self, chars: int) -> Sample:
        """A stretch of a book, of documentation or of code, and clozes on it; some from elsewhere in the same text."""
        text = self.random.choice(self.random.choice((self.books, self.docs, self.code)))
        start = self.random.randrange(max(len(text) - chars, 1))
        document, elsewhere = text[start : start + chars], text[:start] + text[start + chars :]
        here = clozes.usable(document)
        sample = Sample(document.strip())
        for sentence in self.random.sample(here, min(len(here), self.random.choice((1, 2, 4, 6)))):
            if self.random.random() < UNANSWERABLE and (turn := self.foreign(document, elsewhere)):
                sample.turns.append(turn)
            elif made := clozes.make(sentence, self.random):
                reply = self.form.reply.format(quote=made.quote, answer=made.answer)
                sample.turns.append((made.question, reply, "cloze"))
        return sample

    def foreign(self, document: str, elsewhere: str) -> tuple[str, str, str] | None:
        """A cloze on a sentence of the same text that does not stand in the document, nor its answer."""
        start = self.random.randrange(max(len(elsewhere) - 4000, 1))
        away = [s for s in clozes.usable(elsewhere[start : start + 4000]) if s not in document]
        made = clozes.make(self.random.choice(away), self.random) if away else None
        if made is None or made.answer.lower() in document.lower():
            return None
        return made.question, self.form.not_found, "cloze"

    def filler(self, chars: int) -> str:
        """A stretch of a book."""
        book = self.random.choice(self.books)
        start = self.random.randrange(max(len(book) - chars, 1))
        return book[start: start + chars]

    def needle(self, chars: int) -> Sample:
        """Invented facts hidden in a book, asked for by name."""
        lines = self.filler(chars).split("\n")
        facts = []
        for _ in range(self.random.choice((1, 2, 3))):
            thing, owner = self.random.choice(THINGS), _name(self.random)
            value = self.random.choice((str(self.random.randrange(1000, 10**6)), _name(self.random)))
            form = self.random.choice(NEEDLES)
            facts.append((form.format(thing=thing, owner=owner, value=value),
                          f"What is the {thing} of {owner}?", value))
            lines.insert(self.random.randrange(len(lines) + 1), facts[-1][0])
        turns = [(q, self.form.reply.format(quote=s, answer=v), "needle") for s, q, v in facts]
        if self.random.random() < UNANSWERABLE:
            question = f"What is the {self.random.choice(THINGS)} of {_name(self.random)}?"
            turns.insert(self.random.randrange(len(turns) + 1), (question, self.form.not_found, "needle"))
        return Sample("\n".join(lines), turns)

    def lookup(self, lines: int) -> Sample:
        """Key-value lines, some of the keys asked."""
        pairs = {f"{_name(self.random).lower()}_{self.random.choice(THINGS).replace(' ', '_')}":
                 str(self.random.randrange(10, 10**5)) for _ in range(lines)}
        sep = self.random.choice((": ", " = ", ","))
        asked = self.random.sample(list(pairs), min(4, lines))
        replies = [self.form.reply.format(quote=f"{k}{sep}{pairs[k]}", answer=pairs[k]) for k in asked]
        turns = [(f"What is the value of {k}?", reply, "kv") for k, reply in zip(asked, replies, strict=True)]
        if self.random.random() < UNANSWERABLE:
            missing = f"What is the value of {_name(self.random).lower()}_size?"
            turns.insert(self.random.randrange(5), (missing, self.form.not_found, "kv"))
        return Sample("\n".join(f"{k}{sep}{v}" for k, v in pairs.items()), turns)

    def which_file(self, files: int) -> Sample:
        """Several source files; which one defines a name?"""
        chosen = self.random.sample(self.code, files)
        texts = [t[: self.random.randrange(1000, 4000)].rsplit("\n", 1)[0] for t in chosen]
        turns = []
        for text in texts:
            path = re.match(r"# File: (\S+)", text)
            names = list(DEFINES.finditer(text))
            if path and names:
                found = self.random.choice(names)
                asked = self.random.choice(("Which file defines {}?", "In which file is `{}` defined?"))
                reply = self.form.reply.format(quote=found[0].strip()[:LONGEST_ANSWER], answer=path[1])
                turns.append((asked.format(found[1]), reply, "file"))
        return Sample("\n\n".join(texts), turns[:4])

    def draw(self) -> Sample:
        """One sample of any kind."""
        kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
        size = self.random.choice(SIZES.get(kind, (0,)))
        sample: Sample = getattr(self, kind)(size) if size else self.single()
        return sample


THINGS = ("access code", "favourite colour", "room number", "license number", "secret word", "home town", "best friend",
          "badge number", "password", "ship", "account number", "horse")
NEEDLES = ("The {thing} of {owner} is {value}.", "{owner}'s {thing} is {value}.",
           "Remember: the {thing} of {owner} is {value}.", "It was noted that {value} is the {thing} of {owner}.")
SYLLABLES = ("ba", "ke", "lo", "mi", "nu", "ra", "si", "to", "ve", "zan", "dor", "el")
DEFINES = re.compile(r"^(?:async def|def|class|func|fn|pub fn|struct|module) (\w{4,})[^\n]*", re.M)


def _name(source: random.Random) -> str:
    return "".join(source.choices(SYLLABLES, k=3)).title()


def _poor(row: dict[str, Any], source: random.Random) -> bool:
    """Most Reddit and Amazon rows are left out (the corpus page calls them weaker)."""
    return "new_wiki" not in row["id"] and row["id"].startswith("shift-") and source.random() < 0.7


def encode(sample: Sample, form: PromptForm, tokenizer: Any) -> tuple[list[int], list[bool]]:
    """Token ids of a conversation and which of them belong to a reply (its end of turn included)."""
    def plain(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    ids = [IM_START, *plain(f"system\n{form.system}"), IM_END, *plain("\n"), IM_START, *plain("user\n"),
           *plain(sample.document)]
    reply = [False] * len(ids)
    for n, (question, answer, _) in enumerate(sample.turns):
        asked = form.question.format(question=question.strip())
        before = [*plain(asked)] if n == 0 else [*plain("\n"), IM_START, *plain("user\n" + asked.lstrip("\n"))]
        before += [IM_END, *plain("\n"), IM_START, *plain("assistant\n")]
        after = [*plain(answer), IM_END]
        ids += before + after
        reply += [False] * len(before) + [True] * len(after)
    return ids, reply


def build(folder: Path, form: PromptForm, tokenizer_file: Path, seed: int, tokens: int, out: Path,
          limit: int | None = None) -> dict[str, int]:
    """Write about `tokens` tokens of samples to an .npz (ids, reply, lengths); returns counts."""
    builder, tokenizer = Builder(folder, form, seed, limit), plain_tokenizer(tokenizer_file)
    ids: list[int] = []
    reply: list[bool] = []
    lengths: list[int] = []
    counts: dict[str, int] = defaultdict(int)
    while len(ids) < tokens:
        sample = builder.draw()
        if not sample.turns:
            continue
        more, mask = encode(sample, form, tokenizer)
        if len(more) > 16_384:
            continue
        ids += more
        reply += mask
        lengths.append(len(more))
        counts["replies"] += len(sample.turns)
        counts["not_found"] += sum(r == form.not_found for _, r, _ in sample.turns)
    unfinished = out.with_suffix(".part.npz")
    np.savez(unfinished, ids=np.array(ids, dtype=np.uint16), reply=np.array(reply),
             lengths=np.array(lengths, dtype=np.int32))
    unfinished.rename(out)
    return {**counts, "samples": len(lengths), "tokens": len(ids), "reply_tokens": sum(reply)}
