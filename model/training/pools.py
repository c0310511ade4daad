"""What samples are drawn from: the corpus's questions by passage and by document, and its texts."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from model.training import near_miss
from model.training.data import rows

FILES = {"qa-squad-train": 0.34, "qa-shifts": 0.26, "qa-fairytale": 0.22, "qa-textbook": 0.08, "qa-misc": 0.06,
         "qa-code": 0.04}
"""Question files and how often a passage comes from each."""
WRITTEN = 0.12
"""The same for questions of `writing`, where there are any. They take it from all files but FairytaleQA's, since nobody
writes questions about feelings and reasons."""
KEPT = "qa-fairytale"
CONTESTED = 0.4
"""How often a passage from there is one that has questions without an answer, too, where there are any."""
LONGEST_ANSWER = 160
NEAR = Path(__file__).with_name("near.jsonl.zst")
"""Questions that were written for this project about passages of the question files: some it answers, some nearly, as
many or more. `of` is the id of a row with the passage, `at` where in its text that begins and ends if
it is not all of it; `answers` are words of the passage, none where it has no answer."""
NEAR_SHARE = 0.25
"""How often a passage is one that such questions were written about."""

Row = dict[str, Any]


class Pools:
    """The corpus in memory. by_doc: each document's passages, in their order; of_context: a passage's question rows;
    names: those of a document's passages; near: passages with questions of NEAR, and those without an answer; missed:
    all of these."""

    def __init__(
        self, folder: Path, source: random.Random, limit: int | None = None, written: Sequence[Path] = (),
        share: float = WRITTEN,
    ) -> None:
        """limit: rows of each file, and texts of each kind, at most. written: files of questions of `writing`; share:
        of the passages, from there."""
        self.random = source
        self.shares = FILES | ({"qa-written": share} if written else {})
        self.negatives: dict[str, list[Row]] = defaultdict(list)
        self.by_doc: dict[str, list[str]] = defaultdict(list)
        self.of_context: dict[str, list[Row]] = {}
        self.contexts: dict[str, list[str]] = {}
        self.near: dict[str, list[Row]] = defaultdict(list)
        beside: dict[str, list[Row]] = defaultdict(list)
        for row in rows(NEAR):
            beside[row["of"]].append(row)
        placed: dict[str, set[str]] = defaultdict(set)
        for name in list(self.shares):
            found: dict[str, list[Row]] = defaultdict(list)
            files = written if name == "qa-written" else [folder / f"{name}.jsonl.zst"]
            for n, row in enumerate(row for file in files for row in rows(file)):
                if limit and n >= limit:
                    break
                if row["unanswerable"]:
                    self.negatives[row["context"]].append(row)
                elif row["answers"] and len(row["answers"][0]) <= LONGEST_ANSWER and not _poor(row, source):
                    found[row["context"]].append(row)
                    for more in beside.pop(row["id"], ()):
                        passage = row["context"][slice(*more.get("at") or (None,))]
                        written_about = found if more["answers"] else self.near
                        written_about[passage].append(row | more | {"context": passage})
            self.contexts[name] = list(found)
            if not found:
                del self.shares[name]  # a writer that found nothing
            for context, group in found.items():
                for doc in dict.fromkeys(row["doc"] for row in group):
                    if context not in placed[doc]:
                        placed[doc].add(context)
                        self.by_doc[doc].append(context)
                self.of_context.setdefault(context, []).extend(group)
        if "qa-written" in self.shares:
            rest = sum(FILES.values()) - FILES[KEPT]
            self.shares = {name: part if name in (KEPT, "qa-written") else part * (1 - (share / rest))
                           for name, part in self.shares.items()}
        self.contested = [c for c in self.contexts.get("qa-written", ()) if c in self.negatives]
        for n, row in enumerate(rows(folder / "qa-negatives.jsonl.zst")):
            if not (limit and n >= limit):
                self.negatives[row["context"]].append(row)
        self._near = [passage for passage in self.near if passage in self.of_context]
        self.missed = [row for passage in self._near for row in self.near[passage]]
        self.names = {doc: near_miss.names("\n".join(found[:40])) for doc, found in self.by_doc.items()}
        self.folder, self.limit = folder, limit

    @cached_property
    def books(self) -> list[str]:
        """Sixty books."""
        return self._texts("books-00", 60)

    @cached_property
    def docs(self) -> list[str]:
        """Two thousand pages of documentation."""
        return self._texts("docs-00", 2000)

    @cached_property
    def code(self) -> list[str]:
        """Source files under the app's header."""
        return [_headed(text) for text in self._texts("code-00", 6000)]

    def _texts(self, name: str, most: int) -> list[str]:
        return [row["text"] for row in islice(rows(self.folder / f"{name}.jsonl.zst"), self.limit or most)]

    def context(self) -> str:
        """A passage of some question file."""
        if self._near and self.random.random() < NEAR_SHARE:
            return self.random.choice(self._near)
        name = self.random.choices(list(self.shares), list(self.shares.values()))[0]
        if name == "qa-written" and self.contested and self.random.random() < CONTESTED:
            return self.random.choice(self.contested)
        return self.random.choice(self.contexts[name])

    def pair(self, passage: str) -> tuple[Row, Row] | None:
        """Of the questions about a passage one that it answers, and of those written about it one that it does not."""
        answered = self.of_context.get(passage)
        missed = self.near.get(passage)
        return (self.random.choice(answered), self.random.choice(missed)) if answered and missed else None

    def short(self) -> str:
        """A passage of less than 1600 characters."""
        while len(found := self.context()) >= 1600:
            pass
        return found

    def text(self) -> str:
        """A book, a page of documentation or a source file."""
        kind = self.random.choices((self.books, self.docs, self.code), (5, 4, 1))[0]
        return self.random.choice(kind)

    def filler(self, chars: int) -> str:
        """A stretch of a book."""
        book = self.random.choice(self.books)
        start = self.random.randrange(max(len(book) - chars, 1))
        return book[start: start + chars]

    def article(self, doc: str, chars: int) -> str:
        """About `chars` characters of a document's passages one after another, in the middle of other text where it has
        fewer."""
        whole = "\n\n".join(self.by_doc[doc])
        if len(whole) >= chars:
            start = self.random.randrange(len(whole) - chars + 1)
            return whole[start : start + chars]
        around = self.filler(chars - len(whole))
        cut = self.random.choice((0, len(around), self.random.randrange(len(around) + 1)))
        return f"{around[:cut]}\n\n{whole}\n\n{around[cut:]}".strip()


def _headed(code: str) -> str:
    """A source file under the header that the app gives it; the corpus's says more, in the language's own comment."""
    return re.sub(r"^(?:#|//) File: (\S+)[^\n]*\n\n?", r"# File: \1\n", code)


def _poor(row: Row, source: random.Random) -> bool:
    """Most Reddit and Amazon rows are left out (the corpus page calls them weaker)."""
    return "new_wiki" not in row["id"] and row["id"].startswith("shift-") and source.random() < 0.7
