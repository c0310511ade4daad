"""The trained module is Kimi Linear: equal to our engine's model (and to transformers': tests/oracle)."""

import json
from pathlib import Path

import pytest
import torch

from model.config import KimiConfig
from model.quantize import round_trip
from model.state import ModelState
from model.training.compensate import compensate
from model.training.data import plain_tokenizer
from model.training.export import PLAIN, bits_of, export, load_export, requantise, write_tokenizer
from model.training.packing import make_pack
from model.training.student import balance
from model.weights import load
from tests.model.training.tiny import student

MINI = Path(__file__).parents[3] / "model" / "mini"
IDS = torch.randint(0, 320, (24,), generator=torch.Generator().manual_seed(3))


def test_packed_sequences_do_not_see_each_other() -> None:
    model = student()
    whole = model(IDS, make_pack([10, 14]))
    parts = [model(IDS[:10], make_pack([10])), model(IDS[10:], make_pack([14]))]
    assert torch.allclose(whole, torch.cat(parts), atol=1e-5)


@pytest.mark.parametrize("bytes_a_file", [45_000_000, 3000])
def test_export_is_read_by_our_engines_model_and_by_ourselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_a_file: int
) -> None:
    monkeypatch.setattr("model.training.export.SHARD_BYTES", bytes_a_file)  # small ones cut between all tensors
    export(student(), tmp_path)
    mine = load_export(tmp_path)
    config = KimiConfig.from_folder(tmp_path)
    with torch.no_grad():
        theirs = load(tmp_path, config, torch.float32, torch.device("cpu"))
        state = ModelState.empty(config, torch.float32, torch.device("cpu"))
        logits = theirs.logits(theirs(IDS, state))
        for name, p in mine.named_parameters():
            if bits_of(name):
                p.copy_(p.bfloat16())  # the loader's values: what a matrix on the grid is worth in bf16
        expected = mine(IDS, make_pack([24])) @ mine.embed.T
    assert torch.allclose(logits, expected, atol=2e-3)


def test_what_has_other_bits_by_now_is_quantised_anew_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(student(), tmp_path / "before")
    before = load_export(tmp_path / "before").state_dict()
    products = before["embed"].T @ before["embed"]
    said = requantise(tmp_path / "before", tmp_path / "after", products)
    gates = {f"model.layers.{name.split('.')[1]}.self_attn.{name.split('.')[3]}.weight" for name in before
             if name.endswith(("f_b_proj", "g_b_proj"))}
    assert said["tensors"] == {name: {"bits": 8, "group": 64} for name in gates}
    expected = before | {"embed": compensate(before["embed"], products, 4).values(torch.float32)}
    assert not torch.equal(before["embed"], expected["embed"])
    for name, value in load_export(tmp_path / "after").state_dict().items():
        assert torch.equal(value, expected[name]), name
    monkeypatch.setattr("model.training.export.PLAIN", tuple(name for name in PLAIN if name != "router"))
    requantise(tmp_path / "after", tmp_path / "last", torch.eye(64))  # what was plain before
    last = load_export(tmp_path / "last").state_dict()
    assert torch.equal(last["layers.1.mlp.router"], round_trip(before["layers.1.mlp.router"], 4, 64))
    assert torch.equal(last["embed"], expected["embed"])


def test_what_stands_beside_exported_weights_is_what_is_shipped(tmp_path: Path) -> None:
    write_tokenizer(plain_tokenizer(MINI / "tokenizer.json"), tmp_path)
    for name in ("generation_config.json", "tokenizer_config.json"):
        assert json.loads((tmp_path / name).read_text()) == json.loads((MINI / name).read_text())


def test_balance_lowers_the_busy_and_lifts_the_idle() -> None:
    model = student()
    before = model.layers[1].mlp.bias.clone()
    model.layers[1].mlp.load += torch.tensor([10.0, 0.0, 2.0, 0.0])
    balance(model, 0.01)
    assert torch.allclose(model.layers[1].mlp.bias - before, torch.tensor([-0.01, 0.01, 0.01, 0.01]))
    assert model.layers[1].mlp.load.sum() == 0
