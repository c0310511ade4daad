"""The shape of a Kimi Linear model, and the one door through which Hugging Face's config.json comes in."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.errors import ConfigError


@dataclass(frozen=True)
class KimiConfig:
    """Everything the model code needs to know about a checkpoint's shape. Layers are counted from 0."""

    vocab_size: int
    hidden: int
    layers: int
    mla_layers: tuple[int, ...]
    dense_layers: tuple[int, ...]
    eps: float
    tied: bool
    max_length: int
    dtype: str
    stop_ids: tuple[int, ...]

    kda_heads: int
    kda_dim: int
    conv_taps: int

    heads: int
    rank: int
    nope: int
    shared: int
    value_dim: int

    dense_inner: int
    experts: int
    top_k: int
    expert_inner: int
    shared_inner: int
    renormalize: bool
    routed_scaling: float

    quantization: dict[str, Any] | None

    @property
    def kda_layers(self) -> tuple[int, ...]:
        """The layers that are not MLA."""
        return tuple(n for n in range(self.layers) if n not in self.mla_layers)

    @property
    def kda_channels(self) -> int:
        """Channels of q, of k and of v in a KDA layer: heads x dimension."""
        return self.kda_heads * self.kda_dim

    @property
    def latent_width(self) -> int:
        """Numbers an MLA layer keeps for each token: R + P."""
        return self.rank + self.shared

    @staticmethod
    def from_folder(folder: Path) -> "KimiConfig":
        """Read `config.json` of a Hugging Face checkpoint. Raises ConfigError."""
        path = folder / "config.json"
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder: give the folder of a Kimi Linear checkpoint")
        if not path.is_file():
            raise ConfigError(f"{path} is missing: a checkpoint folder holds config.json beside its weights")
        try:
            raw = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ConfigError(f"{path} is not valid JSON ({error}): download it again") from error
        if not isinstance(raw, dict):
            raise ConfigError(f"{path} holds no configuration: download it again")
        try:
            return KimiConfig.from_keys(raw)
        except KeyError as error:
            raise ConfigError(f"{path} lacks the key {error}: is it a Kimi Linear checkpoint?") from error

    @staticmethod
    def from_keys(raw: dict[str, Any]) -> "KimiConfig":
        """Of what config.json holds. Raises ConfigError, or KeyError for a key that is missing."""
        return _from_hugging_face(raw)


def _from_hugging_face(raw: dict[str, Any]) -> KimiConfig:
    """Translate Hugging Face's keys, as Moonshot's checkpoint has them and as transformers saves them."""
    if raw.get("model_type") != "kimi_linear":
        raise ConfigError(f"model_type is {raw.get('model_type')!r}: Onceread runs kimi_linear checkpoints")
    layers = raw["num_hidden_layers"]
    linear = raw.get("linear_attn_config") or {}
    mla_layers = _mla_layers(raw, linear, layers)
    groups = _first(raw, "num_expert_group", "n_group", default=1)
    unsupported = {
        "q_lora_rank": raw.get("q_lora_rank") is not None,
        "num_expert_group above 1": groups > 1 and _first(raw, "topk_group", default=1) < groups,
        "rotary positions (mla_use_nope is false)": raw.get("mla_use_nope") is False,
        "moe_router_activation_func": raw.get("moe_router_activation_func", "sigmoid") != "sigmoid",
        "hidden_act": raw.get("hidden_act", "silu") != "silu",
    }
    if any(unsupported.values()):
        raise ConfigError("this checkpoint asks for what Kimi Linear does not have: "
                          + ", ".join(name for name, asked in unsupported.items() if asked))
    expert_inner = raw["moe_intermediate_size"]
    eos = raw.get("eos_token_id")
    return KimiConfig(
        vocab_size=raw["vocab_size"],
        hidden=raw["hidden_size"],
        layers=layers,
        mla_layers=mla_layers,
        dense_layers=_dense_layers(raw, layers),
        eps=raw.get("rms_norm_eps", 1e-5),
        tied=raw.get("tie_word_embeddings", False),
        max_length=_first(raw, "model_max_length", "max_position_embeddings", default=1_048_576),
        dtype=_first(raw, "dtype", "torch_dtype", default="bfloat16"),
        stop_ids=tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,),
        kda_heads=_first(linear, "num_heads", default=None) or raw["linear_num_heads"],
        kda_dim=_first(linear, "head_dim", default=None) or raw["linear_head_dim"],
        conv_taps=_first(linear, "short_conv_kernel_size", default=None) or raw["linear_conv_kernel_dim"],
        heads=raw["num_attention_heads"],
        rank=raw["kv_lora_rank"],
        nope=raw["qk_nope_head_dim"],
        shared=raw["qk_rope_head_dim"],
        value_dim=raw["v_head_dim"],
        dense_inner=raw["intermediate_size"],
        experts=_first(raw, "num_experts", "num_local_experts"),
        top_k=_first(raw, "num_experts_per_token", "num_experts_per_tok"),
        expert_inner=expert_inner,
        shared_inner=expert_inner * _first(raw, "num_shared_experts", "n_shared_experts", default=1),
        renormalize=_first(raw, "moe_renormalize", "norm_topk_prob", default=True),
        routed_scaling=raw.get("routed_scaling_factor", 1.0),
        quantization=raw.get("quantization"),
    )


def _mla_layers(raw: dict[str, Any], linear: dict[str, Any], layers: int) -> tuple[int, ...]:
    """The MLA layers, from 0. Never guessed: transformers' default pattern is wrong for this model."""
    if "full_attn_layers" in linear:
        mla = tuple(n - 1 for n in linear["full_attn_layers"])  # the checkpoint counts from 1
        kda = tuple(n - 1 for n in linear.get("kda_layers", []))
        if sorted(mla + kda) != list(range(layers)):
            raise ConfigError("linear_attn_config does not name every layer exactly once")
        return mla
    if raw.get("layer_types"):
        return tuple(n for n, kind in enumerate(raw["layer_types"]) if kind == "full_attention")
    raise ConfigError("config.json has neither linear_attn_config nor layer_types: which layers are MLA is unknown")


def _dense_layers(raw: dict[str, Any], layers: int) -> tuple[int, ...]:
    if raw.get("mlp_layer_types"):
        return tuple(n for n, kind in enumerate(raw["mlp_layer_types"]) if kind == "dense")
    return tuple(range(min(layers, raw.get("first_k_dense_replace", 1))))


_REQUIRED = object()


def _first(raw: dict[str, Any], *names: str, default: Any = _REQUIRED) -> Any:
    """The value under the first of several names in use for one thing."""
    for name in names:
        if raw.get(name) is not None:
            return raw[name]
    if default is _REQUIRED:
        raise KeyError(names[0])
    return default
