"""Columns that a page draws line by line across are read one after the other; tables stay as they are."""

import pytest
from fpdf import FPDF

from app.extract import pdf, pdfium
from app.extract.columns import Piece, in_columns

LEFT = [f"left {n} words that fill the column well" for n in range(20)]
RIGHT = [f"right {n} words that fill the column too" for n in range(20)]
TITLE = "A title across both of the columns of this page, as journals have it, and it is long"


def page(across: bool) -> bytes:
    """A page of two columns, drawn line by line across or column by column."""
    made = FPDF()
    made.set_font("helvetica", size=11)
    made.add_page()
    made.set_xy(10, 10)
    made.cell(190, 8, TITLE)
    places = [(10, n, text) for n, text in enumerate(LEFT)] + [(110, n, text) for n, text in enumerate(RIGHT)]
    for x, n, text in sorted(places, key=lambda each: each[1]) if across else places:
        made.set_xy(x, 25 + n * 7)
        made.cell(80, 7, text)
    return bytes(made.output())


@pytest.mark.parametrize("parser", [pdf, pdfium])
@pytest.mark.parametrize("across", [True, False])
def test_columns_are_read_one_after_the_other(parser: object, across: bool) -> None:
    [(_, text, _, trouble, _)] = parser.pages(page(across), [1])  # type: ignore[attr-defined]
    assert trouble is None
    assert text.split("\n") == [TITLE, *LEFT, *RIGHT]


def pieces(rows: list[list[str]], width: float = 10.0) -> list[Piece]:
    return [
        Piece(300.0 * column, -20.0 * n, 300.0 * column + width * len(text), -20.0 * n + 12, text)
        for n, row in enumerate(rows)
        for column, text in enumerate(row)
        if text
    ]


def test_a_table_stays_in_rows() -> None:
    assert in_columns(pieces([[f"term {n}", "means " + "so much " * (n % 3)] for n in range(20)])) is None


def test_what_stands_across_parts_the_columns() -> None:
    rows = [["left one of some words", "right one of more words"]] * 6 + [["a heading over both of the columns " * 2]]
    rows += [["left two of some words", "right two of more words"]] * 6
    ordered = in_columns(pieces(rows))
    assert ordered is not None
    lines = ordered.split("\n")
    assert lines[:12] == ["left one of some words"] * 6 + ["right one of more words"] * 6
    assert lines[13:] == ["left two of some words"] * 6 + ["right two of more words"] * 6


def test_one_column_and_nothing() -> None:
    assert in_columns([]) is None
    assert in_columns(pieces([["only one column of words"]] * 40)) is None
