"""Jupyter notebooks."""

import json

import pytest

from app.extract.notebook import read_notebook
from app.extract.parts import Unreadable
from tests import pandoc


def test_a_notebook_made_by_pandoc() -> None:
    read = read_notebook(pandoc.make("ipynb"), "a.ipynb")
    [text] = read.pages
    assert read.title == "Part one"
    assert [(heading.level, heading.title) for heading in read.outline] == pandoc.OUTLINE
    assert all(text[heading.char_start :].lstrip("# ").startswith(heading.title) for heading in read.outline)
    assert "straße, 猫" in text


def test_cells_and_outputs() -> None:
    outputs = [
        {"output_type": "stream", "text": ["1\n", "2\n"]},
        {"output_type": "execute_result", "execution_count": 3, "data": {"text/plain": "42", "text/html": "<b>42</b>"}},
        {"output_type": "display_data", "data": {"image/png": "iVBO", "text/plain": "<Figure>"}},
        {"output_type": "error", "traceback": ["\x1b[31mValueError\x1b[0m: no"]},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Head\n", "words"]},
        {"cell_type": "code", "execution_count": 3, "source": "print(1)", "outputs": outputs},
        {"cell_type": "code", "execution_count": None, "source": "x = 1\n", "outputs": []},
        {"cell_type": "code", "source": "", "outputs": []},
    ]
    read = read_notebook(json.dumps({"nbformat": 4, "cells": cells}).encode(), "")
    assert read.pages == (
        "# Head\nwords\n\nIn [3]:\nprint(1)\n\n1\n2\n\nOut[3]:\n42\n\n<Figure>\n\nValueError: no\n\nIn [ ]:\nx = 1\n",
    )
    assert read.skipped == ("1 picture among the outputs not read",)


def test_the_form_before() -> None:
    cells = [{"cell_type": "heading", "level": 2, "source": "Old"}]
    cells += [{"cell_type": "code", "input": "1", "prompt_number": 1}]
    read = read_notebook(json.dumps({"worksheets": [{"cells": cells}]}).encode(), "")
    assert read.pages == ("## Old\n\nIn [1]:\n1\n",)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b"[" * 100_000, b'{"cells": 3}', b'{"cells": [1, {"source": {}, "outputs": 7}]}']
)
def test_what_is_no_notebook(data: bytes) -> None:
    with pytest.raises(Unreadable, match=r"no notebook|no text"):
        read_notebook(data, "")
