"""What questions are written about: passages in a text's own words and order, and what can be asked of them."""

import itertools
import json
import random
from pathlib import Path

import zstandard

from model.training import passages
from model.training.passages import Run
from tests.model.training.test_tasks import TEXT, corpus

BOOK = "\n\n".join(f"In the year {1700 + n} Captain Harlow sailed to Bristol with {n} barrels." for n in range(400))


def test_passages_are_the_texts_own_words_in_order() -> None:
    found = list(passages.passages(BOOK, random.Random(3)))
    at = [BOOK.index(passage) for passage in found]
    assert len(found) > 20
    assert at == sorted(at)
    assert all(passages.SHORTEST // 2 <= len(passage) <= passages.LONGEST for passage in found)
    assert all(a + len(passage) <= b for a, passage, b in zip(at, found, at[1:], strict=False))


def test_runs_are_of_every_kind_by_document(tmp_path: Path) -> None:
    folder = corpus(tmp_path)
    rows = [{"source": source, "doc": f"{n % 2}", "context": f"{TEXT} {n}", "title": "T", "text": BOOK}
            for n, source in enumerate(["openstax/a", "MicrosoftDocs/cpp-docs", "python/peps", "new_wiki QED"] * 10)]
    for name in ("qa-squad-train", "qa-shifts", "qa-misc", "qa-fairytale", "docs-00", "books-00"):
        data = "\n".join(map(json.dumps, rows)).encode()
        (folder / f"{name}.jsonl.zst").write_bytes(zstandard.compress(data))
    found = list(itertools.islice(passages.runs(folder, 1), 400))
    assert found == list(itertools.islice(passages.runs(folder, 1), 400))
    contexts = [run for run in found if len(run.pieces) > 1]
    assert {run.doc for run in contexts} == {"0", "1"}
    assert max(len(run.pieces) for run in contexts) == passages.RUN
    assert 100 < len(contexts) < 250
    texts = {run.pieces[0] for run in found if run not in contexts}
    assert len(texts) > 2
    assert all(text in BOOK and len(text) <= passages.STRETCH for text in texts)


def test_what_is_asked_for_stands_in_what_is_told_or_only_in_a_neighbour() -> None:
    run = Run("harlow", (BOOK[: passages.STRETCH],))
    found = [ask for n in range(6) for ask in passages.asks(run, random.Random(n))]
    plain = [ask for ask in found if ask.holds and not ask.changed]
    changed = [ask for ask in found if ask.changed]
    foreign = [ask for ask in found if not ask.holds]
    assert min(map(len, (plain, changed, foreign))) > 10
    assert len(plain) > len(changed)
    assert len(plain) > len(foreign)
    assert all(sum(ask.shown == passage for ask in foreign) <= 2 * 6 for passage in {ask.shown for ask in foreign})
    assert all(ask.told == ask.shown and ask.answer in ask.told for ask in plain)
    assert all(ask.answer.lower() not in ask.shown.lower() and ask.answer in BOOK for ask in foreign)
    for ask in changed:
        assert ask.changed in ask.told
        assert ask.changed not in ask.shown
        assert ask.answer in ask.told
        assert ask.changed not in ask.answer
        assert ask.shown in BOOK
        assert ask.told not in BOOK


def test_spans_are_of_different_sentences_and_begin_and_end_with_content() -> None:
    found = [passages.spans(TEXT, random.Random(n), 3) for n in range(60)]
    assert all(span in TEXT for spans in found for span in spans)
    assert max(map(len, found)) == 3
    flat = {span for spans in found for span in spans}
    assert {"1821", "Anne Clegg"} <= flat
    assert not any(span.split()[0] in ("the", "was", "of") or span.split()[-1] in ("by", "in", "the") for span in flat)
    assert not any(" was " in span for span in flat)
