"""Numbers in the forms of Word and HTML."""

import pytest

from app.extract.numbering import written


@pytest.mark.parametrize(
    ("number", "form", "text"),
    [
        (3, "decimal", "3"), (3, "decimalZero", "03"), (1, "lowerLetter", "a"), (28, "upperLetter", "BB"),
        (1994, "upperRoman", "MCMXCIV"), (4, "lowerRoman", "iv"), (0, "lowerRoman", "0"), (5, "none", ""),
        (7, "ideographDigital", "7"),
    ],
)
def test_forms(number: int, form: str, text: str) -> None:
    assert written(number, form) == text
