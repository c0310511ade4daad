"""Opening the data folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import OncereadError
from app.home import Home, open_home
from app.settings import Settings
from model import heap
from model.errors import ConfigError
from storage.errors import DatabaseDamaged
from tests import checkpoints, readers


def test_the_model_is_loaded_when_first_needed(settings: Settings) -> None:
    home = open_home(settings)
    assert home._engine is None
    assert home.engine is home.engine
    home.close()


def test_its_threads_share_one_heap(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(heap, "share_one_heap", lambda: asked.append("share"))
    monkeypatch.setattr(heap, "give_back", lambda: asked.append("give back"))
    home = open_home(settings)
    assert asked == ["share"]
    home.rest()
    assert asked == ["share", "give back"]
    home.close()


def test_a_missing_model_leaves_the_library_usable(tmp_path: Path) -> None:
    home = Home(Settings(tmp_path / "home", tmp_path / "nowhere", "cpu"))
    with pytest.raises(ConfigError, match="is no folder"):
        _ = home.engine
    assert home.documents.list() == []
    home.close()


def test_what_stands_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")
    with pytest.raises(OncereadError, match="cannot be made"):
        Home(Settings(tmp_path / "file" / "home", tmp_path, "cpu"))
    (tmp_path / "onceread.sqlite").write_bytes(b"this is no database, only some words" * 100)
    with pytest.raises(DatabaseDamaged):
        Home(Settings(tmp_path, tmp_path, "cpu"))


def test_all_people_share_the_model_and_the_reader_beside_it(settings: Settings, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "checkpoint")
    for reader in (False, True):
        if reader:
            readers.write(folder)
        home = open_home(replace(settings, model=folder))
        one, other = home.of("ann"), home.of("ben")
        assert one.engine is other.engine is home.engine
        assert one.reader is other.reader is home.reader
        assert (home.reader is not None) is reader
        home.close()


def test_a_damaged_reader_is_named_and_the_library_stays_usable(settings: Settings, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "checkpoint")
    (readers.write(folder) / "config.json").unlink()
    home = open_home(replace(settings, model=folder))
    with pytest.raises(ConfigError, match=r"config\.json"):
        _ = home.reader
    assert home.documents.list() == []
    home.close()
