"""Loading: every gap, leftover, wrong shape and damaged file is named; peak memory is the model and one shard."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kernels import quant
from kernels.quant import Form
from model import memory, weights
from model.config import KimiConfig
from model.errors import CheckpointError, ConfigError, DeviceError
from model.quantize import quantize
from model.state import ModelState
from model.transformer import Transformer
from tests import checkpoints
from tests.bench import synthetic
from tests.checkpoints import CONFIG, PUBLISHED

ROOT = Path(__file__).parents[2]
GATE = "model.layers.0.mlp.gate_proj.weight"
EXPERT = "model.layers.3.block_sparse_moe.experts.4.w2.weight"


def load(folder: Path, dtype: torch.dtype = torch.float32, form: Form = "bf16") -> Transformer:
    """The model of a folder."""
    return weights.load(folder, KimiConfig.from_folder(folder), dtype, torch.device("cpu"), form)


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


WIDE = {"hidden_size": 128, "moe_intermediate_size": 128}
"""What experts in fewer bits want."""

PACK = {"fp8": quant.to_fp8, "int4": quant.to_int4}


@pytest.mark.parametrize("form", ["fp8", "int4"])
def test_experts_are_quantised_each_by_itself_and_all_else_is_not(form: Form, tmp_path: Path) -> None:
    model = load(checkpoints.write(tmp_path, **WIDE), torch.bfloat16, form)
    tensors, quantised = checkpoints.weights(CONFIG | WIDE), 0
    for name, place in weights.destinations(model).items():
        tensor = tensors[name].reshape(quant.shape(place))
        expected = PACK[form](tensor) if "experts" in name else tensor
        quantised += "experts" in name
        for part, wanted in zip(quant.parts(place), quant.parts(expected), strict=True):
            assert torch.equal(part.float(), wanted.to(part.dtype).float()), name
    assert quantised == 4 * (6 + 1) * 3
    assert model.nbytes < load(tmp_path, torch.bfloat16).nbytes


@pytest.mark.parametrize("form", ["fp8", "int4"])
def test_quantised_experts_compute_what_they_stand_for(form: Form, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path, **WIDE)
    model, plain, original = load(folder, form=form), load(folder), load(folder)
    for stack, packed in zip(plain.modules(), model.modules(), strict=True):
        for name, value in vars(packed).items():
            if isinstance(value, quant.Fp8 | quant.Int4):
                getattr(stack, name).data.copy_(quant.dequantize(value, torch.float32))
    ids = torch.randint(0, 320, (40,), generator=torch.Generator().manual_seed(0))
    logits = []
    for each in (model, plain, original):
        state = ModelState.empty(each.config, torch.float32, torch.device("cpu"))
        logits.append(torch.cat([each.logits(each(ids[:-1], state)), each.logits(each(ids[-1:], state))]))
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits[0], logits[2], rtol=1e-2, atol=1e-2)


def test_experts_of_odd_widths_have_no_such_form(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="experts 16 wide cannot be fp8: that takes multiples of 128"):
        load(checkpoints.write(tmp_path), form="fp8")
    narrow = checkpoints.write(tmp_path, moe_intermediate_size=128)
    with pytest.raises(ConfigError, match="a model 32 wide cannot have int4 experts"):
        load(narrow, form="int4")
    assert load(narrow, form="fp8").form == "fp8"


def test_progress_ends_at_the_whole(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    weights.load(folder, KimiConfig.from_folder(folder), torch.float32, torch.device("cpu"),
                 progress=lambda done, total: seen.append((done, total)))  # fmt: skip
    assert len(seen) == len(checkpoints.shapes(CONFIG))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] > 0.9 * seen[-1][1]  # the rest are the files' headers
    assert len({total for _, total in seen}) == 1


def test_what_does_not_fit_is_said_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoints.write(tmp_path, **WIDE)
    config = KimiConfig.from_folder(folder)
    sizes = {form: memory.weights_bytes(config, torch.float32, form) or 0 for form in quant.FORMS}
    monkeypatch.setattr(memory, "free_bytes", lambda _device: sizes["fp8"])
    monkeypatch.setattr(weights, "_tensors", lambda *_: pytest.fail("read nevertheless"))
    with pytest.raises(CheckpointError, match=r"free on cpu: choose --weights fp8 \(.*\) or int4 \("):
        load(folder)


def test_memory_that_runs_out_midway_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nMany lines.")

    monkeypatch.setattr(weights, "fill", out)
    with pytest.raises(DeviceError, match="has no memory left for this: close what else uses it"):
        load(folder)


def test_tied_embeddings_share_one_matrix(tmp_path: Path) -> None:
    model = load(checkpoints.write(tmp_path, tie_word_embeddings=True))
    assert model.head is model.embedding


def test_weights_without_an_index_are_found(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()
    assert torch.equal(load(folder).norm, load(folder).norm)


def test_quantised_weights_are_restored(folder: Path) -> None:
    tensors = checkpoints.weights(CONFIG)
    embedding = "model.embed_tokens.weight"
    bits = {GATE: 4, EXPERT: 8, embedding: 6}
    packed = {name: quantize(tensors.pop(name), n, 16) for name, n in bits.items()}
    stored = {f"{name}.{part}": getattr(grid, part) for name, grid in packed.items() for part in ("q", "scale", "zero")}
    how = {"bits": 4, "group": 16, "tensors": {EXPERT: {"bits": 8}, embedding: {"bits": 6}}}
    rewrite(folder, tensors | stored, CONFIG | {"quantization": how})
    assert weights.inspect(folder, KimiConfig.from_folder(folder)) == len(checkpoints.shapes(CONFIG))
    places = weights.destinations(load(folder))
    for name, grid in packed.items():
        assert torch.equal(places[name], grid.values().float())
    rewrite(folder, tensors | stored)
    with pytest.raises(CheckpointError, match=r"config\.json does not say how"):
        load(folder)


def test_headers_alone_tell_what_is_there(folder: Path) -> None:
    config = KimiConfig.from_folder(folder)
    assert weights.inspect(folder, config) == len(checkpoints.shapes(CONFIG))
    tensors = checkpoints.weights(CONFIG)
    grid = quantize(tensors.pop(GATE), 4, 16)
    how = CONFIG | {"quantization": {"bits": 4, "group": 16}}
    rewrite(folder, tensors | {f"{GATE}.{part}": getattr(grid, part) for part in ("q", "scale", "zero")}, how)
    assert weights.inspect(folder, KimiConfig.from_folder(folder)) == len(checkpoints.shapes(CONFIG))
    rewrite(folder, tensors | {f"{GATE}.{part}": getattr(grid, part) for part in ("q", "zero")}, how)
    with pytest.raises(CheckpointError, match="scale"):
        weights.inspect(folder, KimiConfig.from_folder(folder))
    tensors[EXPERT] = tensors[EXPERT][:-1]
    with pytest.raises(CheckpointError, match="does not say how"):
        weights.inspect(folder, config)
    tensors[GATE] = torch.zeros(48, 32)
    with pytest.raises(CheckpointError, match=f"{EXPERT} in .* has shape"):
        weights.inspect(rewrite(folder, tensors), config)
    del tensors[EXPERT]
    with pytest.raises(CheckpointError, match="lacks 1 tensor"):
        weights.inspect(rewrite(folder, tensors), config)
    shard = folder / "model-00001-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cannot be read"):
        weights.inspect(folder, config)


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
model = weights.load(folder, config, torch.bfloat16, torch.device("cpu"), sys.argv[2])
print(peak() - before, model.nbytes)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of 290 MB in 8 shards, most of it experts."""
    config = synthetic.reduced(4, 32, hidden_size=512, vocab_size=16384, moe_intermediate_size=512,
                               intermediate_size=512, num_attention_heads=4)  # fmt: skip
    return synthetic.write(tmp_path_factory.mktemp("large"), config, shards=8)


@pytest.mark.parametrize("form", quant.FORMS)
def test_peak_memory_is_the_model_in_its_form_and_about_one_shard(form: Form, large: Path) -> None:
    sizes = [file.stat().st_size for file in large.glob("*.safetensors")]
    run = [sys.executable, "-c", MEASURE, str(large), form]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    grown, model = map(int, done.stdout.split())
    part = {"bf16": 1.0, "fp8": 0.69, "int4": 0.55}[form]
    assert model == pytest.approx(part * sum(sizes), rel=0.03)
    assert model * 0.9 < grown < model + 1.2 * max(sizes) + 30e6, (grown, model, max(sizes))
