"""Where settings come from."""

from pathlib import Path

import platformdirs
import pytest

from app.settings import MINI, Settings, model_folder


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ONCEREAD_HOME", str(tmp_path))
    monkeypatch.setenv("ONCEREAD_MODEL", str(tmp_path / "checkpoint"))
    monkeypatch.setenv("ONCEREAD_DEVICE", "cuda:1")
    assert Settings.from_environment() == Settings(tmp_path, tmp_path / "checkpoint", "cuda:1")
    assert Settings.from_environment("cpu").device == "cpu"


def test_without_it_mini_and_the_users_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONCEREAD_HOME", "ONCEREAD_MODEL", "ONCEREAD_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings.from_environment()
    assert (settings.model, settings.model_name) == (MINI, "mini")
    assert settings.device == "cpu"
    assert settings.home == Path(platformdirs.user_data_dir("onceread", appauthor=False))


def test_mini_is_in_the_package() -> None:
    assert model_folder("mini") == MINI
    assert (MINI / "config.json").is_file()
