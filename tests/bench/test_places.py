"""The bench of places tells right, missed and wrong ones apart."""

import json
import lzma
from pathlib import Path

import pytest

from app.citations import Citation
from tests.bench import places

TEXT = "The mill of Corbel burned down in the winter. Nobody in the village knew who had done it. They built it again."


@pytest.fixture(autouse=True)
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two short documents instead of the evaluation's."""
    for name in ("whole-documents", "books"):
        (tmp_path / f"{name}.jsonl.xz").write_bytes(lzma.compress(json.dumps({"text": TEXT}).encode()))
    monkeypatch.setattr(places, "EVAL", tmp_path)


def test_sentences_are_found_however_they_are_quoted() -> None:
    lines = places.run()
    assert lines[0] == "2 documents, 60 sentences of each"
    assert [line.split(" | ")[1:3] for line in lines[4:7]] == [["4", "100.00 %"]] * 3  # "They built it again" is short


@pytest.mark.parametrize(("quote", "verified", "shares"), [
    ("The mill of Corbel", True, ["0.00 %", "0.00 %", "100.00 % |"]), ("", False, ["0.00 %", "100.00 %", "0.00 % |"]),
])  # fmt: skip
def test_another_place_is_wrong_and_none_is_missed(
    monkeypatch: pytest.MonkeyPatch, quote: str, verified: bool, shares: list[str]
) -> None:
    monkeypatch.setattr(places, "cite", lambda *_: [Citation(quote, verified, None)])
    assert all(line.split(" | ")[2:] == shares for line in places.run()[4:])


def test_a_miswritten_sentence_has_its_words_and_is_another() -> None:
    changed = places.miswritten(TEXT, 3)
    assert changed != TEXT
    assert len(changed.split()) == len(TEXT.split())
    assert len(changed) == len(TEXT)
