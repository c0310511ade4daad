"""Numbers, sizes and times in words."""

import time

import pytest

from app.words import ago, count, duration, kind, size


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (27_800_000, "27.8 MB"), (999_999, "1.0 MB"), (8.5e9, "8.5 GB")],
)
def test_size(number: float, words: str) -> None:
    assert size(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (0.62, "0.6 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"), (125, "2 min 5 s"),
     (600, "10 min"), (3_599, "60 min"), (3_600, "1 h"), (12_000, "3 h 20 min")],
)  # fmt: skip
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_count() -> None:
    assert (count(1, "page"), count(12_388, "token"), count(0, "page")) == ("1 page", "12,388 tokens", "0 pages")


def test_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    passed = [(0, "just now"), (-5, "just now"), (300, "5 min ago"), (7200, "2 h ago"), (3 * 86400, "3 days ago")]
    assert [ago(1e9 - seconds) for seconds, _ in passed] == [words for _, words in passed]
    assert ago(1e9 - 86400 * 100).endswith("2001")


def test_kind() -> None:
    assert [kind(name) for name in ("pdf", "collection", "notebook")] == ["PDF", "several files", "notebook"]
