"""Where settings come from."""

from pathlib import Path

import platformdirs
import pytest

from app.errors import OncereadError
from app.settings import MINI, Settings, model_folder, size


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


def test_budget_database_and_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONCEREAD_MAX_STATE", "20GB")
    monkeypatch.setenv("ONCEREAD_DATABASE", "postgresql://host/name")
    monkeypatch.setenv("ONCEREAD_PACK_STATE", "1")
    settings = Settings.from_environment()
    assert (settings.max_state, settings.database) == (20_000_000_000, "postgresql://host/name")
    assert settings.pack_state
    assert not settings.round_latents
    monkeypatch.setenv("ONCEREAD_ROUND_LATENTS", "1")
    assert Settings.from_environment().round_latents
    assert Settings.from_environment(max_state="5 mb").max_state == 5_000_000


def test_the_form_of_the_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONCEREAD_WEIGHTS", raising=False)
    assert Settings.from_environment().weights == "bf16"
    monkeypatch.setenv("ONCEREAD_WEIGHTS", "fp8")
    assert Settings.from_environment().weights == "fp8"
    assert Settings.from_environment(weights="int4").weights == "int4"
    monkeypatch.setenv("ONCEREAD_WEIGHTS", "int8")
    with pytest.raises(OncereadError, match="no 'int8' weights: choose bf16, fp8, int4"):
        Settings.from_environment()


@pytest.mark.parametrize(("words", "count"), [("1", 1), ("1.5k", 1500), ("2 TB", 2 * 10**12), ("3m", 3_000_000)])
def test_sizes(words: str, count: int) -> None:
    assert size(words) == count


@pytest.mark.parametrize("words", ["", "much", "-1GB", "1 PB", "1e9", "GB"])
def test_no_sizes(words: str) -> None:
    with pytest.raises(OncereadError, match="say it like 500MB"):
        size(words)


def test_mini_is_in_the_package() -> None:
    assert model_folder("mini") == MINI
    assert (MINI / "config.json").is_file()
