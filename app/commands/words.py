"""Quotes and their places in words, the same in every command."""

from dataclasses import asdict
from typing import Any

from app.citations import Citation


def citation_facts(citation: Citation) -> dict[str, Any]:
    """A citation in the contract's form: `location` is null where the quote was not found."""
    location = asdict(citation.place) if citation.place else None
    return {
        "quote": citation.quote, "verified": citation.verified, "match": citation.match, "location": location,
    }


def place(citation: Citation) -> str:
    """A quote and where it stands, or that it was not found."""
    if citation.place is None:
        return f"“{citation.quote}”: not found in the document"
    found = citation.place
    page = f", page {found.page}" if found.page else f", “{found.chapter}”" if found.chapter else ""
    first, last = found.line_start, found.line_end
    lines = f"line {first}" if first == last else f"lines {first}–{last}"
    similar = " (similar to what the model wrote)" if citation.match == "similar" else ""
    return f"“{citation.quote}”: {found.path}{page}, {lines}{similar}"
