"""The coverage report: what was taken in, what was left out and why, what was guessed; and OCR, offered for scans."""

from collections.abc import Mapping
from typing import Any

from app import library, originals
from app.coverage import Coverage
from app.extract.ocr import languages
from app.home import Home
from app.library import Document, DocumentInfo
from app.words import ago, count
from ui.markup import button, dotted, facts, safe

NO_OCR = "OCR could read scanned pages: pip install 'onceread[ocr]', and the program tesseract."


def panel(home: Home, info: DocumentInfo) -> str:
    """The report of a document: open before it is read if something is missing, folded otherwise."""
    document, report = info.document, library.covered(info.document)
    missing = bool(report.gaps)
    shown = " open" if missing and not info.complete else ""
    return (
        f'<details class="or-coverage"{shown}><summary>{safe(_summary(report))}</summary>'
        f"{facts(_taken(document, report))}{_list(report)}{_offer(home, document, report)}</details>"
    )


def ask_ocr(words: str) -> Mapping[str, Any]:
    """The dialog before pages are read by OCR."""
    return {
        "title": "Read the pages by OCR?", "words": words, "confirm": "Read by OCR",
        "fields": [{"name": "language", "label": "Language of the pages", "choices": languages()}],
    }  # fmt: skip


def _summary(report: Coverage) -> str:
    left_out = sum(gap.count for gap in report.gaps if not gap.pages)
    noticed = len(report.notes) + len(report.encodings)
    parts = [
        f"{count(report.pages_missing, 'page')} not or not rightly read" if report.pages_missing else "",
        f"{count(left_out, 'part')} left out" if left_out else "",
        count(noticed, "note") if noticed else "",
    ]
    return dotted(["Coverage", *parts] if any(parts[:2]) else ["Coverage", "nothing left out", *parts])


def _taken(document: Document, report: Coverage) -> list[tuple[str, str]]:
    return [
        ("characters", f"{document.chars:,}"),
        ("files", f"{report.files:,}" if report.files > 1 else ""),
        ("files left out", f"{report.files_skipped:,}" if report.files_skipped else ""),
        ("pages", f"{report.pages:,}" if report.pages else ""),
        ("added", ago(document.created_at)),
    ]


def _list(report: Coverage) -> str:
    """What is missing, by reason, then what was guessed and noticed."""
    rows = []
    for gap in report.gaps:
        reason = f"{gap.count:,} × {gap.reason}" if gap.count > 1 else gap.reason
        rows.append(f"<li>{safe(reason)}: <code>{safe(gap.where)}</code></li>")
    guessed = (f"{count(files, 'file')} read as {name} (guessed)" for name, files in report.encodings)
    rows += [f"<li>{safe(line)}</li>" for line in (*guessed, *report.notes)]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""


def _offer(home: Home, document: Document, report: Coverage) -> str:
    """OCR, where it may help: the pages' own file must be here."""
    if not report.scanned:
        return ""
    if not languages():
        return f'<p class="or-quiet">{safe(NO_OCR)}</p>'
    if not originals.files(home, document.id):
        return '<p class="or-quiet">OCR may read these pages: add the PDF by itself, not inside a folder or zip.</p>'
    words = (
        f"{count(report.scanned, 'page')} will be read from the picture, a few seconds each. Expect wrong letters. It "
        "becomes a document of its own; this one stays as it is."
    )
    return f'<p class="or-actions">{button("ocr", "Read these pages by OCR", document.id, ask=ask_ocr(words))}</p>'
