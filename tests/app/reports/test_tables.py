"""Tables: text that looks like a formula stays text, numbers are numbers, every quote has its row."""

import csv
import io
from dataclasses import replace

import pytest
from openpyxl import load_workbook

from app.reports import tables
from tests.app.reports.finished import FINISHED, entry


def test_a_row_for_every_cell() -> None:
    rows = list(csv.DictReader(io.StringIO(tables.csv_text(FINISHED))))
    assert [row["state"] for row in rows] == [each.state for each in FINISHED.entries]
    assert rows[0]["answer"] == "'=1+1"
    assert rows[0]["place"] == "book.txt, page 3, line 7"
    assert rows[1]["answer"] == "-3"
    assert {row["fingerprint"] for row in rows} == {FINISHED.fingerprint}


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-cmd", "@SUM(A1)", "\t=1", " =1", "\r=1", "-1+cmd|'/c calc'"])
def test_formulas_get_an_apostrophe(text: str) -> None:
    assert tables.inert(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=b", "-3", "+1,234.5", "word", "1-2"])
def test_other_text_is_left_alone(text: str) -> None:
    assert tables.inert(text) == text


def test_the_workbook() -> None:
    book = load_workbook(io.BytesIO(tables.workbook(FINISHED)))
    assert book.sheetnames == ["Story   one", "Together", "Sources", "Documents", "About"]
    story = book["Story   one"]
    assert [cell.value for cell in story[1]] == ["document", "Setting", "Chapters"]
    assert [(cell.value, cell.data_type) for cell in story[2]] == [("A <b>book</b>", "s"), ("=1+1", "s"), (-3, "n")]
    assert story["C3"].value == "[out of memory]"
    sources = [[cell.value for cell in row] for row in book["Sources"].iter_rows(min_row=2)]
    assert ["A <b>book</b>", "d1", "setting", "the 'words'", "yes", "book.txt, page 3, line 7", "10–21"] in sources
    assert ["for a person", "Gone / Chapters: out of memory"] in [
        [cell.value for cell in row] for row in book["About"].iter_rows()
    ]


def test_a_workbook_takes_any_text() -> None:
    odd = replace(entry("setting", "found", "a\x00b" + "x" * 40_000), value=None)
    part = replace(FINISHED.parts[0], title="[x]:*?/\\" + "y" * 60, rows=((odd, odd),))
    book = load_workbook(io.BytesIO(tables.workbook(replace(FINISHED, parts=(part, part)))))
    first, second = book.worksheets[:2]
    assert first.title != second.title
    assert str(first["B2"].value).startswith("abxxx")
