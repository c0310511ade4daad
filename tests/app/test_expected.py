"""What reading a document in the library will take."""

from dataclasses import replace
from pathlib import Path

from app import library, reading
from app.expected import expected
from app.home import Home
from app.library import Document
from storage.snapshots import Eviction

WORDS = "".join(f"The bee of day {n} flew over the sea and came home at night. " for n in range(400))


def added(home: Home, tmp_path: Path, name: str, text: str) -> Document:
    (tmp_path / name).write_text(text, "utf-8")
    return library.add(home, [tmp_path / name])


def test_a_new_version_goes_on_from_what_it_shares(home: Home, tmp_path: Path) -> None:
    first = added(home, tmp_path, "bees.txt", WORDS)
    cost = expected(home, library.info(home, first))
    assert (cost.tokens_reused, cost.update_of, cost.evicts, cost.over_budget) == (0, None, (), None)
    reading.read(home, first.id)
    second = added(home, tmp_path, "bees.txt", WORDS + "And one bee more.")
    cost = expected(home, library.info(home, second))
    assert cost.update_of == library.Earlier(first.id, first.title)
    result = reading.read(home, second.id)
    assert (cost.tokens, cost.tokens_reused) == (result.tokens, result.tokens_reused)
    assert 0 < cost.tokens_reused < cost.tokens


def test_what_would_make_room_is_named(home: Home, tmp_path: Path) -> None:
    first = added(home, tmp_path, "a.txt", WORDS)
    reading.read(home, first.id)
    needed = home.snapshots.bytes()
    home.settings = replace(home.settings, max_state=int(needed * 1.6))
    other = library.info(home, added(home, tmp_path, "b.txt", WORDS[::-1]))
    cost = expected(home, other)
    assert [title for title, _ in cost.evicts] == ["a"]
    reading.read(home, other.document.id)
    dropped = library.info(home, home.documents.get(first.id)).evicted
    assert isinstance(dropped, Eviction)
    home.settings = replace(home.settings, max_state=1)
    assert "raise --max-state" in (expected(home, other).over_budget or "")
