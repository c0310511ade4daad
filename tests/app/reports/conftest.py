"""Templates and small documents for reports."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app import library
from app.home import Home
from app.reports.template import Template, parse
from model.sampling import Sampling

SHORT = Sampling(max_tokens=4)
BRIEF = "title: Book brief\nquestions:\n  - id: setting\n    ask: Where and when does the story take place?\n"
ACROSS = BRIEF + """\
  - {id: people, ask: 'Who are the main characters?', kind: list, column: People}
sections:
  - title: Together
    across: true
    questions:
      - {id: common, ask: 'What do they have in common?', column: In common}
      - {id: gist, ask: 'What is it all about?', from: [common, setting]}
"""


@pytest.fixture
def brief() -> Template:
    """The contract's smallest template."""
    return parse("brief.yaml", BRIEF)


@pytest.fixture
def documents(home: Home, tmp_path: Path) -> Callable[..., list[str]]:
    """A function that adds texts to the library and gives their ids."""

    def add(*texts: str) -> list[str]:
        ids = []
        for text in texts:
            path = tmp_path / f"text {len(home.documents.list())}.txt"
            path.write_text(text, "utf-8")
            ids.append(library.add(home, [path]).id)
        return ids

    return add
