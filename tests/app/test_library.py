"""Taking documents in, estimating, listing, removing."""

from dataclasses import replace
from pathlib import Path

import pytest

from app import library, reading
from app.errors import SourceError
from app.home import Home
from app.settings import Settings
from storage.documents import Heading
from storage.errors import NotFound
from tests import checkpoints


def test_the_estimate_is_what_reading_does(home: Home, book: Path) -> None:
    estimate = library.estimate(home, [book])
    assert home.documents.list() == []
    result = reading.read(home, library.add(home, [book]).id)
    assert (estimate.tokens, estimate.state_bytes) == (result.tokens, result.state_bytes)
    assert estimate.tokens_reused == 0
    assert 0.05 < estimate.seconds_estimate / result.seconds < 20  # the same order, on any busy machine
    again = library.estimate(home, [book])
    assert again.tokens_reused == result.tokens
    assert again.seconds_estimate == 0


def test_the_same_text_is_the_same_document(home: Home, book: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_bytes(book.read_bytes())
    first = library.add(home, [book], title="First")
    assert library.add(home, [copy]).id == first.id
    assert [document.title for document in home.documents.list()] == ["First"]


def test_info_follows_reading(home: Home, book: Path) -> None:
    document = library.add(home, [book])
    info = library.info(home, document)
    assert (info.tokens_read, info.complete, info.state_bytes) == (0, False, 0)
    result = reading.read(home, document.id)
    info = library.info(home, home.documents.get(document.id))
    assert (info.tokens_read, info.complete) == (result.tokens, True)
    assert result.state_bytes < info.state_bytes < 1.1 * result.state_bytes  # with a checkpoint


def test_a_state_of_another_model_is_not_called_read(home: Home, book: Path, tmp_path: Path) -> None:
    document = library.add(home, [book])
    reading.read(home, document.id)
    other_model = checkpoints.write(tmp_path / "other", seed=1)
    other = Home(Settings(home.settings.home, other_model, "cpu"))
    info = library.info(other, document)
    assert (info.tokens_read, info.complete) == (0, False)
    assert info.state_bytes > 0
    assert other.fingerprint == other.engine.fingerprint
    other.close()


def test_what_was_skipped_and_guessed_is_kept(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "good.txt").write_text("Readable.", "utf-8")
    (folder / "picture.bin").write_bytes(b"\0\1\2" * 100)
    document = library.add(home, [folder])
    assert [skip.path for skip in document.skipped] == ["picture.bin"]
    assert "good.txt" in home.documents.text(document.id)


def test_removing_forgets_everything(home: Home, book: Path) -> None:
    document = library.add(home, [book])
    reading.read(home, document.id)
    library.remove(home, document.id)
    assert home.documents.list() == []
    assert home.snapshots.verify() == []
    with pytest.raises(NotFound):
        home.documents.get(document.id)


def test_a_missing_file_is_one_clear_line(home: Home, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        library.add(home, [tmp_path / "nowhere.txt"])
    assert home.documents.list() == []


def test_a_new_version_of_a_file_is_offered_and_goes_on_from_the_old(home: Home, book: Path) -> None:
    old = library.add(home, [book])
    reading.read(home, old.id)
    assert library.estimate(home, [book]).known == library.Earlier(old.id, "book")
    book.write_text(book.read_text("utf-8") + "\nAnd one line more.", "utf-8")
    estimate = library.estimate(home, [book])
    assert (estimate.known, estimate.update_of) == (None, library.Earlier(old.id, "book"))
    assert estimate.tokens_reused > estimate.tokens // 2
    new = library.add(home, [book])
    assert library.earlier_version(home, new) == library.Earlier(old.id, "book")
    assert library.earlier_version(home, old) is None
    assert reading.read(home, new.id).tokens_reused == estimate.tokens_reused


def test_the_estimate_says_what_would_make_room(home: Home, book: Path, tmp_path: Path) -> None:
    old = library.add(home, [book], "Old")
    result = reading.read(home, old.id)
    other = tmp_path / "other.txt"
    other.write_text("Quite another text. " * 200, "utf-8")
    assert library.estimate(home, [other]).evicts == ()
    home.settings = replace(home.settings, max_state=int(1.2 * result.state_bytes))
    estimate = library.estimate(home, [other])
    assert [title for title, _ in estimate.evicts] == ["Old"]
    assert estimate.over_budget is None
    assert library.info(home, old).complete  # nothing was dropped
    home.settings = replace(home.settings, max_state=10)
    assert "raise --max-state" in (library.estimate(home, [other]).over_budget or "")


def test_the_outline_and_the_coverage_are_kept(home: Home, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# One\n\nwords\n\n## Two\n\nmore", "utf-8")
    estimate = library.estimate(home, [tmp_path / "a.md"])
    document = library.add(home, [tmp_path / "a.md"])
    assert home.documents.outline(document.id) == estimate.outline == (Heading(1, "One", 0), Heading(2, "Two", 14))
    assert library.covered(document) == estimate.coverage
