"""A report as data: ten books through the book brief have the structure they had with mini, cell by cell sound."""

import json
from collections.abc import Callable
from pathlib import Path

from app.aids import Aids
from app.home import Home
from app.reports.job import create
from app.reports.run import run, run_report
from app.reports.template import Template
from model.sampling import Sampling
from tests.app.reports.golden import GOLDEN, TEMPLATE, add_books, structure


def test_quotes_come_with_their_place_and_the_words_around_it(
    home: Home, brief: Template, documents: Callable[..., list[str]], tmp_path: Path
) -> None:
    home.aids = Aids(evidence=1, choose_quotes=True)
    words = "It was long ago. The story takes place at the mill by the river, in winter. Nobody knew why."
    result = run(home, create(home, brief, documents(words), tmp_path, Sampling(max_tokens=3)))
    (cell,) = json.loads((tmp_path / "report.json").read_text("utf-8"))["cells"]
    quote = cell["quotes"][0]
    assert quote["verified"]
    assert words[quote["char_start"] : quote["char_end"]] == quote["text"]
    assert words.endswith(quote["text"] + quote["after"])
    assert words.startswith(quote["before"] + quote["text"])
    assert quote["where"] == "text 0.txt, line 1"
    assert quote["text"] in Path(result.files[1]).read_text("utf-8")
    (saved,) = home.cells.get([cell["key"]]).values()
    assert (saved.quote, saved.place) == (quote["text"], quote["where"])


def test_ten_books_give_the_golden_structure(home: Home, tmp_path: Path) -> None:
    result = run_report(home, TEMPLATE, add_books(home), tmp_path / "out", sampling=Sampling(max_tokens=8))
    found = structure(tmp_path / "out" / "report.json")
    golden = json.loads(GOLDEN.read_text("utf-8"))
    found["settings"]["max_tokens"] = golden["settings"]["max_tokens"]
    assert found == golden
    assert (result.cells, result.failed, result.missing) == (golden["cells"], 0, 0)
