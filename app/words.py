"""Numbers, sizes, times and what is offered, in words that are the same in every command and on the page."""

import time

BYTES_UNITS = ("B", "kB", "MB", "GB", "TB")
KINDS = {"pdf": "PDF", "epub": "EPUB", "docx": "Word document", "html": "web page", "collection": "several files"}
"""Kinds of documents whose own names are not words."""


def kind(name: str) -> str:
    """A document's kind: `PDF`, `several files`, `text`."""
    return KINDS.get(name, name)


def count(number: int, noun: str) -> str:
    """`1 page`, `12,388 tokens`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Bytes in decimal units: `820 kB`, `1.1 GB`."""
    unit = 0
    while number >= 999.5 and unit < len(BYTES_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f} {BYTES_UNITS[unit]}" if unit and number < 99.95 else f"{number:.0f} {BYTES_UNITS[unit]}"


def offered(found: bool) -> str:
    """What the places are that are offered beside an answer (see `app.answers.Answer.nearest`)."""
    return "A close choice; these may answer it as well" if found else "What comes nearest to the question"


def duration(seconds: float) -> str:
    """`0.6 s`, `45 s`, `2 min 5 s`, `12 min`, `3 h 20 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 180 and whole % 60 else f"{round(whole / 60)} min"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def ago(at: float) -> str:
    """`just now`, `5 min ago`, `3 h ago`, `2 days ago`, `14 Mar 2026`; at: seconds since 1970."""
    passed = max(0.0, time.time() - at)
    if passed < 90:
        return "just now"
    if passed < 5400:
        return f"{round(passed / 60)} min ago"
    if passed < 129_600:
        return f"{round(passed / 3600)} h ago"
    if passed < 30 * 86_400:
        return f"{round(passed / 86_400)} days ago"
    return time.strftime("%-d %b %Y", time.localtime(at))
