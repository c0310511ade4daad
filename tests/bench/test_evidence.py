"""The bench of evidence: what it asks, of which texts, and that its shares are those of a set made by hand."""

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from tests.bench import evidence

MILL = "The mill at Corbel was built by Anna Reed in 1820. It burned down in 1871."
HERON = "Herons live by the river all winter. They eat fish."
DRAGON = "A dragon lived under the hill. Nobody had seen it."


def rows(doc: str, context: str, *questions: tuple[str, str]) -> list[dict[str, Any]]:
    """Rows of a reading set, each twice: the even ones are not reported."""
    made = [
        {"doc": doc, "para": 0, "context": context, "question": asked, "answers": [gold], "unanswerable": not gold}
        for asked, gold in questions
    ]
    return [row for row in made for _ in range(2)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "reading-squad1": rows("mill", MILL, ("Who built the mill at Corbel?", "Anna Reed"), ("Who owned it?", "")),
        # its answer is right by the row, and what the words lead to does not hold it
        "reading-squad2": rows("heron", f"{HERON}\n\nCranes do, too.",
                               ("Where do herons live all winter?", "by the river"),
                               ("Which herons live by the river?", "Cranes")),
        "reading-fairytale": rows("dragon", DRAGON, ("Where did the dragon live?", "under the hill")),
        "whole-documents": [{"doc": doc, "text": f"{text}\n\n{'Nothing else is said. ' * 100}"}
                            for doc, text in (("mill", MILL), ("dragon", DRAGON))],
        "textbooks": [{"title": "Book", "text": "A book about books. " * 400}],
        "books": [],
    }
    for name, content in files.items():
        with lzma.open(tmp_path / f"{name}.jsonl.xz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in content)
    monkeypatch.setattr(evidence, "EVAL", tmp_path)
    monkeypatch.setattr(evidence, "LONG", {"9k": 9_000})


def test_every_set_is_asked_whole_and_squads_of_long_texts() -> None:
    *_, head, _, squad1, squad2, tales, long1, long2 = evidence.run()
    columns = [cell.strip() for cell in head.split("|")[1:-1]]
    table = [dict(zip(columns, (cell.strip() for cell in row.split("|")[1:-1]), strict=True))
             for row in (squad1, squad2, tales, long1, long2)]
    assert [(row["questions"], row["asked"]) for row in table] == [
        ("squad1, whole", "1"), ("squad2, whole", "2"), ("fairytale, whole", "1"),
        ("squad1, in 9k tokens", "1"), ("squad2, in 9k tokens", "2"),
    ]
    assert [row["1 shown"] for row in table] == ["100.0", "100.0", "100.0", "100.0", "100.0"]
    assert [row["first sentence"] for row in table] == ["100.0", "50.0", "100.0", "100.0", "50.0"]
    assert all(int(row["characters shown"]) > 40 for row in table)


def test_long_texts_hold_every_document_once_and_are_long_enough() -> None:
    texts = {"a": "a" * 40, "b": "b" * 40, "c": "c" * 40, "filler": "f" * 100}
    made = evidence._joined(texts, ["a", "b", "c"], 70)
    assert [parts for _, parts in made.values()] == [["a", "b"], ["c", "filler"]]
    assert all(len(text) >= 70 for text, _ in made.values())


def test_without_the_sets_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evidence, "EVAL", tmp_path / "nowhere")
    assert evidence.run() == [f"{tmp_path / 'nowhere'} is missing: nothing to measure with."]
