"""Loading: every gap, leftover, wrong shape and damaged file is named; peak memory is the model and one shard."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model import weights
from model.config import KimiConfig
from model.errors import CheckpointError
from model.quantize import dequantize, quantize
from model.transformer import Transformer
from tests import checkpoints
from tests.checkpoints import CONFIG, PUBLISHED

ROOT = Path(__file__).parents[2]
GATE = "model.layers.0.mlp.gate_proj.weight"
EXPERT = "model.layers.3.block_sparse_moe.experts.4.w2.weight"


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Transformer:
    """The model of a folder."""
    return weights.load(folder, KimiConfig.from_folder(folder), dtype, torch.device("cpu"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of our own to damage."""
    return checkpoints.write(tmp_path / "checkpoint")


def rewrite(folder: Path, tensors: dict[str, Tensor], config: dict[str, object] = CONFIG) -> Path:
    """Replace the weights (and configuration) of a checkpoint."""
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    checkpoints.write_shards(folder, tensors, 3)
    return folder


def published(tmp_path: Path) -> KimiConfig:
    """The configuration of the 48B model."""
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED), "utf-8")
    return KimiConfig.from_folder(tmp_path)


def test_the_published_checkpoint_has_a_place_for_each_tensor(tmp_path: Path) -> None:
    shapes = checkpoints.shapes(PUBLISHED)
    assert len(shapes) == 20_493
    model = Transformer.on_meta(published(tmp_path))
    places = weights.destinations(model)
    assert places.keys() == shapes.keys()
    for name, shape in shapes.items():
        assert [n for n in places[name].shape if n > 1] == [n for n in shape if n > 1], name


def test_parameters_of_the_published_model(tmp_path: Path) -> None:
    total, active = weights.parameter_count(published(tmp_path))
    assert total == 49_122_681_728
    assert active == pytest.approx(3.107e9, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_arrive_unrounded_and_what_needs_float32_keeps_it(tiny_checkpoint: Path, dtype: torch.dtype) -> None:
    tensors, model = checkpoints.weights(CONFIG), load(tiny_checkpoint, dtype)
    for name, place in weights.destinations(model).items():
        wide = name.endswith(("A_log", "dt_bias", "e_score_correction_bias"))
        assert place.dtype == (torch.float32 if wide else dtype), name
        assert torch.equal(place.flatten().double(), tensors[name].flatten().double()), name
    assert not any(p.requires_grad for p in model.parameters())


def test_tied_embeddings_share_one_matrix(tmp_path: Path) -> None:
    model = load(checkpoints.write(tmp_path, tie_word_embeddings=True))
    assert model.head is model.embedding


def test_weights_without_an_index_are_found(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()
    assert torch.equal(load(folder).norm, load(folder).norm)


def test_quantised_weights_are_restored(folder: Path) -> None:
    tensors = checkpoints.weights(CONFIG)
    bits = {GATE: 4, EXPERT: 8}
    packed = {name: quantize(tensors.pop(name), n, 16) for name, n in bits.items()}
    stored = {f"{name}.{part}": x for name, parts in packed.items() for part, x in parts.items()}
    how = {"bits": 4, "group": 16, "tensors": {EXPERT: {"bits": 8}}}
    rewrite(folder, tensors | stored, CONFIG | {"quantization": how})
    places = weights.destinations(load(folder))
    for name, n in bits.items():
        assert torch.equal(places[name], dequantize(packed[name], n, 16).float())
    rewrite(folder, tensors | stored)
    with pytest.raises(CheckpointError, match=r"config\.json does not say how"):
        load(folder)


def test_missing_tensors_are_named(folder: Path) -> None:
    tensors = checkpoints.weights(CONFIG)
    del tensors[EXPERT], tensors[GATE]
    with pytest.raises(CheckpointError, match=f"lacks 2 tensors: {GATE}, {EXPERT}"):
        load(rewrite(folder, tensors))


def test_leftover_tensors_are_named(folder: Path) -> None:
    extra = {"model.layers.5.input_layernorm.weight": torch.ones(32), "model.rotary.freqs": torch.ones(4)}
    with pytest.raises(CheckpointError, match=r"2 tensors: model\.layers\.5\.input_layernorm\.weight, model\.rotary"):
        load(rewrite(folder, checkpoints.weights(CONFIG) | extra))


def test_more_than_a_few_names_are_counted(folder: Path) -> None:
    kept = {name: x for name, x in checkpoints.weights(CONFIG).items() if ".experts." not in name}
    with pytest.raises(CheckpointError, match=r"lacks 72 tensors: .* and 64 more"):
        load(rewrite(folder, kept))


@pytest.mark.parametrize("name", [GATE, EXPERT, "model.layers.0.self_attn.A_log", "lm_head.weight"])
def test_a_misshapen_tensor_is_named(folder: Path, name: str) -> None:
    tensors = checkpoints.weights(CONFIG)
    tensors[name] = torch.zeros(*tensors[name].shape[:-1], tensors[name].shape[-1] + 1)
    with pytest.raises(CheckpointError, match=f"{name} in .* has shape"):
        load(rewrite(folder, tensors))


def test_a_transposed_matrix_is_misshapen(folder: Path) -> None:
    tensors = checkpoints.weights(CONFIG)
    tensors[GATE] = tensors[GATE].t().contiguous()
    with pytest.raises(CheckpointError, match=r"has shape \[32, 48\], not \[48, 32\]"):
        load(rewrite(folder, tensors))


def test_a_shard_that_the_index_names_is_missing(folder: Path) -> None:
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks 1 file: model-00002-of-00003\.safetensors"):
        load(folder)


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_truncated_shard_is_named(folder: Path, size: int) -> None:
    shard = folder / "model-00001-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"model-00001-of-00003\.safetensors cannot be read"):
        load(folder)


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"weight_map": ["a"]}', '{"weight_map": {"a": 1}}'])
def test_a_damaged_index_is_named(folder: Path, content: str) -> None:
    (folder / "model.safetensors.index.json").write_text(content, "utf-8")
    with pytest.raises(CheckpointError, match=r"index\.json is damaged"):
        load(folder)


def test_a_folder_without_weights(folder: Path) -> None:
    for file in [*folder.glob("*.safetensors"), folder / "model.safetensors.index.json"]:
        file.unlink()
    with pytest.raises(CheckpointError, match=r"holds no \.safetensors file"):
        load(folder)


MEASURE = """
import pathlib, re, resource, sys, torch
from model import weights
from model.config import KimiConfig

def peak():  # bytes; on Linux ru_maxrss would count the process that started this one
    if sys.platform == "linux":
        return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

folder = pathlib.Path(sys.argv[1])
config = KimiConfig.from_folder(folder)
before = peak()
model = weights.load(folder, config, torch.bfloat16, torch.device("cpu"))
print(peak() - before, sum(p.nbytes for p in model.parameters()))
"""


def test_peak_memory_is_the_model_and_about_one_shard(tmp_path: Path) -> None:
    wide = {"hidden_size": 512, "vocab_size": 16384, "num_experts": 12, "moe_intermediate_size": 512}
    folder = checkpoints.write(tmp_path, shards=8, **wide)
    largest = max(file.stat().st_size for file in folder.glob("*.safetensors"))
    run = [sys.executable, "-c", MEASURE, str(folder)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    grown, model = map(int, done.stdout.split())
    assert model > 100e6
    assert largest < model / 3
    assert model * 0.9 < grown < model + 1.2 * largest + 8e6, (grown, model, largest)
