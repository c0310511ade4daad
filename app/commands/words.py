"""Sizes, times and places in words, the same in every command."""

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


def size(count: float) -> str:
    """Bytes, in the unit that suits them."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
