"""What a report on ten books has to look like whatever the model writes: its structure, without its wording."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app import library
from app.home import Home

BOOKS = sorted((Path(__file__).parent / "books").glob("*.txt"))
GOLDEN = Path(__file__).parent / "golden.json"
TEMPLATE = "book-brief"


def add_books(home: Home, books: Sequence[Path] = BOOKS) -> list[str]:
    """The ten books in the library; their ids."""
    return [library.add(home, [book], title=book.stem).id for book in books]


def structure(report: Path) -> dict[str, Any]:
    """The structure of a `report.json`: keys, documents, sections, columns, and how many cells have a key of their own.

    Of each cell: that it was asked and has what its state says it has.
    """
    facts = json.loads(report.read_text("utf-8"))
    return {
        "keys": sorted(facts),
        "title": facts["title"],
        "settings": facts["settings"],
        "documents": [[document["title"], document["chars"], document["skipped"]] for document in facts["documents"]],
        "parts": [
            {
                "title": part["title"], "across": part["across"], "columns": part["columns"], "rows": len(part["rows"]),
                "asks": [[entry["question"], entry["kind"], entry["ask"]] for entry in part["rows"][0]],
            }
            for part in facts["parts"]
        ],
        "cell": sorted({key for cell in facts["cells"] for key in cell}),
        "cells": len(facts["cells"]),
        "keys of cells": len({cell["key"] for cell in facts["cells"]}),
        "faults": [cell["key"] for cell in facts["cells"] if not _sound(cell)],
    }


def _sound(cell: dict[str, Any]) -> bool:
    """Whether a cell has what its state says it has, and every quote that counts has its place."""
    placed = all(quote["where"] for quote in cell["quotes"] if quote["verified"])
    match cell["state"]:
        case "found":
            return placed and cell["value"] is not None and cell["problem"] is None
        case "needs_review":
            return placed and bool(cell["problem"])
        case "not_found":
            return cell["value"] is None and not cell["problem"]
        case _:
            return False
