"""config.json: read as the published model has it and as transformers saves it; anything else is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from model.config import KimiConfig
from model.errors import ConfigError
from tests.checkpoints import CONFIG, PUBLISHED


def read(folder: Path, raw: Any) -> KimiConfig:
    """The configuration that `raw` describes."""
    (folder / "config.json").write_text(json.dumps(raw), "utf-8")
    return KimiConfig.from_folder(folder)


def without(*keys: str) -> dict[str, Any]:
    """The tiny configuration without some keys."""
    return {key: value for key, value in CONFIG.items() if key not in keys}


def test_the_published_configuration(tmp_path: Path) -> None:
    config = read(tmp_path, PUBLISHED)
    assert config.mla_layers == (3, 7, 11, 15, 19, 23, 26)
    assert len(config.kda_layers) == 20
    assert config.dense_layers == (0,)
    assert (config.kda_heads, config.kda_dim, config.kda_channels, config.conv_taps) == (32, 128, 4096, 4)
    assert (config.heads, config.rank, config.nope, config.shared, config.value_dim) == (32, 512, 128, 64, 128)
    assert config.latent_width == 576
    assert (config.experts, config.top_k, config.expert_inner, config.shared_inner) == (256, 8, 1024, 1024)
    assert (config.renormalize, config.routed_scaling, config.eps, config.tied) == (True, 2.446, 1e-5, False)
    assert (config.hidden, config.dense_inner, config.vocab_size) == (2304, 9216, 163840)
    assert (config.max_length, config.stop_ids, config.dtype) == (1_048_576, (163586,), "bfloat16")


def test_layer_types_as_transformers_saves_them(tmp_path: Path) -> None:
    raw = without("linear_attn_config", "first_k_dense_replace") | {
        "linear_head_dim": 16,
        "linear_num_heads": 2,
        "linear_conv_kernel_dim": 3,
        "layer_types": ["full_attention", *["linear_attention"] * 3, "full_attention"],
        "mlp_layer_types": ["dense", "sparse", "dense", "sparse", "sparse"],
    }
    config = read(tmp_path, raw)
    assert (config.mla_layers, config.dense_layers) == ((0, 4), (0, 2))
    assert (config.kda_dim, config.kda_heads, config.conv_taps) == (16, 2, 3)


@pytest.mark.parametrize(("eos", "stop"), [(7, (7,)), ([7, 9], (7, 9)), (None, ())])
def test_stop_tokens(tmp_path: Path, eos: Any, stop: tuple[int, ...]) -> None:
    assert read(tmp_path, CONFIG | {"eos_token_id": eos}).stop_ids == stop


@pytest.mark.parametrize("dense", [0, 1, 3, 9])
def test_the_first_layers_are_dense(tmp_path: Path, dense: int) -> None:
    assert read(tmp_path, CONFIG | {"first_k_dense_replace": dense}).dense_layers == tuple(range(min(dense, 5)))


FAULTS = {
    "another model": (CONFIG | {"model_type": "llama"}, "'llama'"),
    "no model type": (without("model_type"), "kimi_linear"),
    "no layer pattern": (without("linear_attn_config"), "linear_attn_config"),
    "a layer named twice": (
        CONFIG | {"linear_attn_config": CONFIG["linear_attn_config"] | {"kda_layers": [1, 2, 3, 4]}},
        "exactly once",
    ),
    "a layer left out": (
        CONFIG | {"linear_attn_config": CONFIG["linear_attn_config"] | {"kda_layers": [1, 2]}},
        "exactly once",
    ),
    "rotary positions": (CONFIG | {"mla_use_nope": False}, "rotary"),
    "compressed queries": (CONFIG | {"q_lora_rank": 64}, "q_lora_rank"),
    "expert groups": (CONFIG | {"num_expert_group": 4, "topk_group": 2}, "num_expert_group"),
    "a softmax router": (CONFIG | {"moe_router_activation_func": "softmax"}, "moe_router_activation_func"),
    "another activation": (CONFIG | {"hidden_act": "gelu"}, "hidden_act"),
    "a missing size": (without("kv_lora_rank"), "'kv_lora_rank'"),
    "a list": ([CONFIG], "config.json"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_configuration_that_cannot_be_run_is_named(tmp_path: Path, fault: str) -> None:
    raw, words = FAULTS[fault]
    with pytest.raises(ConfigError, match=words) as error:
        read(tmp_path, raw)
    assert "\n" not in str(error.value)


def test_no_folder_no_file_no_json(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        KimiConfig.from_folder(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="missing"):
        KimiConfig.from_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": ', "utf-8")
    with pytest.raises(ConfigError, match="not valid JSON"):
        KimiConfig.from_folder(tmp_path)
