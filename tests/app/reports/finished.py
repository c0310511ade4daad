"""A small finished report, as data."""

from typing import Any

from app.reports.kinds import Value
from app.reports.report import Coverage, Entry, Finished, Part, Quote
from storage.reports import CellState

WORDS = Quote(
    "the 'words'", True, "book.txt, page 3, line 7", "book.txt", 3, None, 7, 7, 10, 21, "before ", " <after>"
)


def entry(question: str, state: CellState, text: str, value: Value | None = None, **more: Any) -> Entry:
    """A cell about the first document."""
    facts: dict[str, Any] = {
        "document": "d1", "title": "A <b>book</b>", "problem": None, "quotes": (), "sources": (), "seconds": 1.0,
        "answered": "2026-01-01 00:00 UTC", "key": question, "column": question.capitalize(), "kind": "text",
        "ask": f"What of {question}?",
    }
    return Entry(question=question, state=state, text=text, value=value, **facts | more)


FINISHED = Finished(
    job="j1", title="Brief | *one*", description="About <it>", model="mini", fingerprint="f00",
    date="2026-01-01 00:00 UTC",
    settings={"seed": 0}, variables={"who": "=reader"}, seconds=3.0, trouble=None,
    counts={"found": 2, "not_found": 1, "needs_review": 1, "failed": 1, "missing": 0},
    documents=(
        Coverage("d1", "A <b>book</b>", False, "text", 1234, 300, 5, ({"path": "x.bin", "reason": "binary"},)),
        Coverage("d2", "Gone", True),
    ),
    parts=(
        Part("Story / one", False, ("Setting", "Chapters"), (
            (
                entry("setting", "found", "=1+1", "=1+1", quotes=(WORDS, Quote("never <said>", False, ""))),
                entry("chapters", "found", "-3", -3, kind="number"),
            ),
            (
                entry("setting", "not_found", "The document does not say.", document="d2", title="Gone"),
                entry("chapters", "failed", "", document="d2", title="Gone", problem="out of memory"),
            ),
        )),
        Part("Together", True, ("Gist",), ((
            entry(
                "gist", "needs_review", "All", document=None, title="", problem="no quote",
                sources=({"document": "d1", "title": "A <b>book</b>", "question": "setting", "column": "Setting"},),
                quotes=(Quote("=1+1", True, "A <b>book</b>: Setting"),),
            ),
        ),)),
    ),
)  # fmt: skip
