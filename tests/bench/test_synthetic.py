"""The stand-in for the 48B: counted as the real one, the same from any place, and alive."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from kernels.quant import FORMS, Form
from model import weights
from model.config import KimiConfig
from model.engine import Engine
from model.sampling import Sampling
from model.state import ModelState
from model.transformer import Layer, Transformer
from tests.bench import synthetic
from tests.checkpoints import PUBLISHED

CPU = torch.device("cpu")
SMALL = synthetic.reduced(
    4, 8, hidden_size=256, intermediate_size=384, moe_intermediate_size=128, vocab_size=512, num_attention_heads=2
)


def load(folder: Path, form: Form = "bf16", **how: object) -> Transformer:
    """What the real loader makes of a folder."""
    with torch.no_grad():
        return weights.load(folder, KimiConfig.from_folder(folder), torch.bfloat16, CPU, form, **how)  # type: ignore[arg-type]


def same(one: Transformer, other: Transformer) -> bool:
    """Whether two models have the same weights to the bit."""
    pairs = list(zip(one.tensors(), other.tensors(), strict=True))
    return all(a.dtype == b.dtype and torch.equal(a.view(torch.uint8), b.view(torch.uint8)) for a, b in pairs)


def test_it_counts_what_the_real_checkpoint_does() -> None:
    config = synthetic.reduced()
    assert config == PUBLISHED
    named = synthetic.shapes(config)
    assert len(named) == 20_493
    assert sum(math.prod(shape) for shape in named.values()) == 49_122_681_728
    assert synthetic.total_bytes(config) == 98_245_528_576
    parts = synthetic.layout(config)
    assert len(parts) == 20
    assert [name for names in parts.values() for name in names] == list(named)
    sizes = [sum(math.prod(named[name]) * 2 for name in names) for names in parts.values()]
    assert max(sizes) < 5.7e9  # a twentieth, and at most the embedding more


def test_reduced_keeps_the_first_layers() -> None:
    config = KimiConfig.from_keys(synthetic.reduced(5, 16))
    assert (config.layers, config.mla_layers, config.dense_layers, config.experts) == (5, (3,), (0,), 16)
    assert (config.hidden, config.top_k) == (2304, 8)


@pytest.mark.parametrize("form", FORMS)
def test_written_and_loaded_is_the_model_filled_without_files(form: Form, tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path, SMALL, shards=5)
    assert len(list(folder.glob("*.safetensors"))) == 5
    assert same(load(folder, form), synthetic.model(SMALL, form=form))


def test_an_engine_runs_on_it(tmp_path: Path) -> None:
    engine = Engine.load(synthetic.write(tmp_path, SMALL, shards=2), form="fp8")
    state = engine.read(engine.empty(), engine.tokenizer.encode("the house of the document " * 20))
    assert len(list(engine.generate(state, [5, 6], Sampling(max_tokens=5)))) == 5
    assert state.tokens > 20


def test_written_tensors_have_the_real_dtypes_and_the_index_names_them(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path, SMALL, shards=2)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == synthetic.total_bytes(SMALL)
    seen = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as shard:
            for name in shard.keys():  # noqa: SIM118 - a shard is no dict
                assert index["weight_map"][name] == file.name
                seen[name] = shard.get_slice(name).get_dtype()
    assert seen.keys() == synthetic.shapes(SMALL).keys() == index["weight_map"].keys()
    assert {name.rsplit(".", 1)[-1] for name, dtype in seen.items() if dtype == "F32"} == {"A_log", "dt_bias"}
    assert set(seen.values()) == {"F32", "BF16"}


def test_shards_written_while_they_are_loaded_are_there_one_at_a_time(tmp_path: Path) -> None:
    there = []

    def watched() -> object:
        for file in synthetic.stream(tmp_path, SMALL, shards=4):
            there.append([one.name for one in tmp_path.glob("*.safetensors")])
            yield file

    files = watched()
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    assert same(load(tmp_path, files=files), synthetic.model(SMALL))
    assert there == [[f"model-0000{n}-of-00004.safetensors"] for n in range(1, 5)]
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_tensor_follows_from_its_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "model.layers.3.block_sparse_moe.experts.5.w1.weight"
    whole = synthetic.draw(name, (64, 96), 27, CPU)
    monkeypatch.setitem(synthetic.PIECES, "cpu", 1000)
    assert torch.equal(synthetic.draw(name, (64, 96), 27, CPU), whole)
    other = synthetic.draw(name.replace("5", "6"), (64, 96), 27, CPU)
    assert abs(float((whole * other).mean() / whole.square().mean())) < 4 / math.sqrt(whole.numel())
    golden = [1.564539, 0.7810056, -0.666564, -2.4512413]
    assert synthetic.normal("a", 0, 4, CPU).tolist() == pytest.approx(golden, abs=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="compares with a GPU")
def test_a_gpu_draws_the_same_bits() -> None:
    for name, shape in (("model.layers.1.self_attn.A_log", (1, 1, 32, 1)), ("lm_head.weight", (5000, 2304))):
        assert torch.equal(synthetic.draw(name, shape, 27, torch.device("cuda")).cpu(),
                           synthetic.draw(name, shape, 27, CPU))  # fmt: skip


def test_numbers_are_normal() -> None:
    x = synthetic.normal("x", 7, 1 << 20, CPU)
    assert abs(float(x.mean())) < 5e-3
    assert float(x.std()) == pytest.approx(1, abs=5e-3)
    assert float((x.abs() < 0.6745).float().mean()) == pytest.approx(0.5, abs=3e-3)
    for shift in (1, 2, 64, 2304):
        assert abs(float((x[shift:] * x[:-shift]).mean())) < 5e-3


def test_gates_are_as_large_as_the_real_ones() -> None:
    names = [name for name in synthetic.shapes(PUBLISHED) if name.endswith("A_log")]
    rates = torch.cat([tensor.flatten() for _, tensor in synthetic.tensors(PUBLISHED, names, CPU)]).exp()
    assert rates.numel() == 640
    assert float(rates.mean()) == pytest.approx(8.3, rel=0.05)
    assert float(rates.max()) == pytest.approx(201, rel=1e-3)
    assert float(rates.median()) < 4  # the tail is long


def test_activations_keep_their_scale_and_routers_spread() -> None:
    model = synthetic.model(SMALL, torch.float32)
    sizes: list[float] = []
    hooks = [layer.register_forward_hook(lambda _layer, _x, out: sizes.append(float(out.square().mean().sqrt())))
             for layer in model.layers if isinstance(layer, Layer)]  # fmt: skip
    ids = torch.randint(0, 512, (256,), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model.logits(model(ids, ModelState.empty(model.config, torch.float32, CPU)))
    for hook in hooks:
        hook.remove()
    assert all(0.9 < size < 2.0 for size in sizes), sizes
    assert all(before < after for before, after in pairwise(sizes)), "every layer adds to the stream"
    assert 2 < float(logits.std()) < 4
    said = list(synthetic.spread(model, ids))
    assert said[0].startswith("256 tokens: a layer uses 8 to 8 of 8 experts")
    shares = [float(line.split()[-2 if "#" in line else -1].rstrip("%")) for line in said[1:]]
    assert sum(shares) == pytest.approx(100, abs=1)
