"""Loading shows how far it is where it takes time, and takes the experts' form from the settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from app import library, loading, reading
from app.home import Home
from app.settings import Settings
from tests import checkpoints


@pytest.mark.parametrize("large", [False, True])
def test_a_bar_for_large_checkpoints_only(
    large: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if large:
        monkeypatch.setattr(loading, "LARGE", 1000)
    engine = loading.open_engine(settings)
    assert "loading" not in capsys.readouterr().err
    _ = engine.model
    said = capsys.readouterr()
    assert ("loading" in said.err) == large
    assert said.out == ""


def test_each_form_has_states_of_its_own(settings: Settings, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "wide", hidden_size=128, moe_intermediate_size=128)
    names = set()
    for form in ("bf16", "fp8", "int4"):
        home = Home(replace(settings, model=folder, weights=form))
        assert home.engine.model.form == form
        assert home.fingerprint == home.engine.fingerprint
        names.add(home.fingerprint)
        home.close()
    assert len(names) == 3


def test_a_document_is_read_anew_for_another_form(settings: Settings, tmp_path: Path, book: Path) -> None:
    folder = checkpoints.write(tmp_path / "wide", hidden_size=128, moe_intermediate_size=128)
    reused = []
    for form in ("bf16", "fp8", "bf16", "fp8"):
        home = Home(replace(settings, model=folder, weights=form))
        reused.append(reading.read(home, library.add(home, [book]).id).tokens_reused)
        home.close()
    assert reused[:2] == [0, 0]
    assert reused[2] == reused[3] > 0
