"""The report as tables: CSV with one row a cell, and a workbook with a sheet a section, quotes and documents.

A cell's text may begin with `=` or another mark that spreadsheets take for a formula; none of ours is ever one.
"""

import csv
import io
import re
from collections.abc import Sequence

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, TYPE_STRING, Cell
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from app.reports.report import Entry, Finished, Part, needs

MOST = 32_000
"""Characters in a cell of a workbook, a little below Excel's limit."""

WIDTH = 44

HEADS = [
    "document", "title", "section", "question", "ask", "state", "answer", "problem", "quote", "place", "fingerprint",
]

FORMULA = re.compile(r"^[\s]*[=+\-@\t\r]")
"""How a text begins that a spreadsheet might run when it opens a CSV file (OWASP, CSV injection)."""


def csv_text(report: Finished) -> str:
    """Every cell as a row."""
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(HEADS)
    for part in report.parts:
        for entry in (entry for row in part.rows for entry in row):
            quote = next((quote for quote in entry.quotes if quote.verified), None)
            facts = [
                entry.document or "", entry.title, part.title, entry.question, entry.ask, entry.state, entry.text,
                entry.problem or "", quote.text if quote else "", quote.where if quote else "", report.fingerprint,
            ]
            rows.writerow([inert(fact) for fact in facts])
    return out.getvalue()


def inert(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe goes before what might be one."""
    return f"'{text}" if FORMULA.match(text) and not re.fullmatch(r"\s*[+-]?\d[\d.,]*\s*", text) else text


def workbook(report: Finished) -> bytes:
    """A sheet for each section, then quotes with their places, documents, and what a person has to look at."""
    book = Workbook()
    book.remove(book.worksheets[0])
    for part in report.parts:
        _section(_sheet(book, part.title or report.title), part)
    quotes = _sheet(book, "Sources")
    _row(quotes, ["document", "id", "question", "quote", "found", "place", "characters"], bold=True)
    for entry in report.entries:
        for quote in entry.quotes:
            characters = f"{quote.char_start}–{quote.char_end}" if quote.char_start is not None else ""
            found = "yes" if quote.verified else "no"
            of = [entry.title, entry.document or "", entry.question]
            _row(quotes, [*of, quote.text, found, quote.where, characters])
    documents = _sheet(book, "Documents")
    _row(documents, ["document", "id", "characters", "tokens", "pages", "not read"], bold=True)
    for document in report.documents:
        left_out = "; ".join(f"{part['path']}: {part['reason']}" for part in document.skipped)
        left_out = "removed from the library" if document.removed else left_out
        facts = [document.title, document.id, document.chars, document.tokens or "", document.pages or "", left_out]
        _row(documents, facts)
    about = _sheet(book, "About")
    of_report = {"title": report.title, "job": report.job, "model": report.model, "fingerprint": report.fingerprint}
    made = {"date": report.date, **report.settings, **report.variables, **report.counts, "trouble": report.trouble}
    for name, fact in {**of_report, **made}.items():
        _row(about, [name, fact])
    for line in needs(report.for_people):
        _row(about, ["for a person", line])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _section(sheet: Worksheet, part: Part) -> None:
    _row(sheet, [*([] if part.across else ["document"]), *part.columns], bold=True)
    for row in part.rows:
        _row(sheet, [*([] if part.across else [row[0].title]), *(_value(entry) for entry in row)])
    sheet.freeze_panes = "A2" if part.across else "B2"


def _value(entry: Entry) -> str | int | float:
    """A number as a number, everything else as text; a cell that needs a person says so."""
    if entry.state in ("needs_review", "failed", "missing"):
        return f"{entry.text} [{entry.problem}]".strip()
    is_number = isinstance(entry.value, int | float) and not isinstance(entry.value, bool)
    return entry.value if is_number else entry.text  # type: ignore[return-value]


def _sheet(book: Workbook, title: str) -> Worksheet:
    """A new sheet under a title that Excel accepts and that is free."""
    title = re.sub(r"[\\/*?:\[\]]", " ", ILLEGAL_CHARACTERS_RE.sub("", title)).strip(" '")[:28] or "Report"
    return book.create_sheet(title)  # a title that is taken gets a number


def _row(sheet: Worksheet, values: Sequence[object], bold: bool = False) -> None:
    row = sheet.max_row + 1 if sheet.max_row > 1 or sheet.cell(1, 1).value is not None else 1
    for column, value in enumerate(values, 1):
        cell = sheet.cell(row, column)
        assert isinstance(cell, Cell)
        if isinstance(value, int | float) and not isinstance(value, bool):
            cell.value = value
        else:
            cell.value = ILLEGAL_CHARACTERS_RE.sub("", str(value))[:MOST]
            cell.data_type = TYPE_STRING  # whatever it begins with
        cell.alignment = Alignment(wrap_text=True, vertical="top")
        cell.font = Font(bold=bold)
        if bold:
            sheet.column_dimensions[get_column_letter(column)].width = WIDTH
