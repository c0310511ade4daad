"""What the model in use is said to be and to need, without loading it."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.about import about, memory_plan
from app.errors import OncereadError
from app.home import Home
from app.settings import Settings
from model.engine import Engine
from model.errors import CheckpointError, ConfigError
from tests import checkpoints


def test_it_is_the_model_in_use(home: Home) -> None:
    what = about(home)
    assert what["fingerprint"] == home.engine.fingerprint
    assert what["kda_layers"] + what["mla_layers"] == what["layers"] == home.engine.config.layers
    assert what["state_bytes_fixed"] + 10 * what["state_bytes_per_token"] == home.engine.state_bytes(10)
    assert what["weights_bytes"] == home.engine.model.nbytes


def test_nothing_is_loaded_for_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "load", lambda *_: pytest.fail("loaded"))
    assert about(home)["layers"] == 5
    assert memory_plan(home)["tensors"] == len(checkpoints.shapes(checkpoints.CONFIG))


@pytest.fixture
def wide(settings: Settings, tmp_path: Path) -> Home:
    """A model whose experts can be quantised."""
    folder = checkpoints.write(tmp_path / "wide", hidden_size=128, moe_intermediate_size=128)
    return Home(replace(settings, model=folder, weights="int4"))


def test_the_plan_is_what_loading_takes(wide: Home) -> None:
    plan, what = memory_plan(wide, 5000), about(wide)
    assert plan["forms"]["int4"]["weights_bytes"] == wide.engine.model.nbytes == what["weights_bytes"]
    assert what["weights"] == "int4"
    kinds = [plan["forms"]["int4"][f"{kind}_bytes"] for kind in ("experts", "dense", "embeddings")]
    assert sum(kinds) == what["weights_bytes"]
    assert plan["latents_bytes"] == 5000 * what["state_bytes_per_token"]
    assert plan["forms"]["int4"]["total_bytes"] >= sum(kinds) + wide.engine.state_bytes(5000) + plan["workspace_bytes"]
    assert [plan["forms"][form]["fits"] for form in ("bf16", "fp8", "int4")] == [True, True, True]
    assert plan["cards"][0]["longest_tokens"]["int4"] == 32_768
    assert memory_plan(wide)["context"] == 32_768
    for context in (0, 32_769):
        with pytest.raises(OncereadError, match="1 to 32,768 tokens"):
            memory_plan(wide, context)


def test_forms_that_these_experts_cannot_have(home: Home) -> None:
    plan = memory_plan(home)
    assert plan["forms"]["fp8"] is plan["forms"]["int4"] is None
    with pytest.raises(ConfigError, match="cannot be fp8"):
        _ = Home(replace(home.settings, weights="fp8")).engine


def test_before_the_weights_are_there_and_when_some_are_missing(wide: Home) -> None:
    folder = wide.settings.model
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="lacks 1 file"):
        memory_plan(wide)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    assert memory_plan(wide)["tensors"] is None
    assert about(wide)["fingerprint"] is None
