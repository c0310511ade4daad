"""Files of every kind, made by pandoc (a Debian package; `.ci/run` installs it)."""

import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

SAMPLE = """---
title: The Mill
author: A. Writer
---

# Part one

## The river

It was cold.[^1] The *quick* brown **fox** saw 10^6^ rivers and H~2~O; “quotes” — dashes, straße, 猫.
A second line of it. See [the link](https://example.org/x).

[^1]: A footnote says so.

1. First
2. Second
   a. nested a
   b. nested b
3. Third

- bullet
    - inner

## The table

| Name | Age | City |
|------|----:|------|
| Ann  | 31  | Bonn |
| Bob  | 4   | Köln |

# Part two

> A quotation, block.

```python
def f(x):
    return x  +  1
```

The end.
"""

WORDS = [
    *("The Mill", "Part one", "The river", "It was cold.", "quick brown fox saw", "“quotes” — dashes, straße, 猫."),
    *("A second line of it.", "the link", "A footnote says so.", "1. First", "2. Second", "a. nested a", "b. nested b"),
    *("3. Third", "- bullet", "- inner", "The table", "Ann", "Köln", "Part two", "A quotation, block.", "def f(x):"),
    *("    return x  +  1", "The end."),
]
"""What must be found of it in every kind, in this order but for the footnote."""

OUTLINE = [(1, "Part one"), (2, "The river"), (2, "The table"), (1, "Part two")]


@cache
def make(kind: str, markdown: str = SAMPLE) -> bytes:
    """The Markdown as pandoc writes it in another kind (epub2, epub3, docx, html, rst, ipynb)."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "made"
        command = ["pandoc", "--standalone", "--from=markdown", f"--to={kind}", f"--output={out}"]
        subprocess.run(command, input=markdown.encode(), check=True, capture_output=True)
        return out.read_bytes()


def assert_in_order(words: list[str], text: str) -> None:
    """All the words stand in the text, one after another."""
    at = 0
    for word in words:
        found = text.find(word, at)
        assert found >= 0, f"{word!r} is missing after {text[max(0, at - 60) : at]!r}"
        at = found + len(word)
