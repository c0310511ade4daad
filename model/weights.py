"""Weights from a checkpoint folder into the model: streamed, every gap and every leftover named.

Shards are read one tensor at a time, so peak memory is the model plus one tensor. The names are the checkpoint's own
(Moonshot's, and the two variations that transformers writes).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kernels.linear import Weight
from model.config import KimiConfig
from model.errors import CheckpointError
from model.quantize import dequantize
from model.transformer import Layer, Transformer


def load(folder: Path, config: KimiConfig, dtype: torch.dtype, device: torch.device) -> Transformer:
    """The model of `folder`, ready to run. Raises CheckpointError naming missing, extra or misshapen tensors."""
    model = _allocate(config, dtype, device)
    wanted = _destinations(model)
    extra = []
    for name, tensor in _tensors(folder, config):
        name = _own_name(name, config)
        if name not in wanted:
            extra.append(name)
            continue
        target = wanted.pop(name)
        if tensor.squeeze().shape != target.squeeze().shape:
            shapes = f"{list(tensor.shape)}, not {list(target.shape)}"
            raise CheckpointError(f"{name} in {folder} has shape {shapes}: weights and config.json do not match")
        target.copy_(tensor.reshape(target.shape))
    if wanted:
        raise CheckpointError(f"{folder} lacks {_count(wanted)}: download the checkpoint again")
    if extra:
        raise CheckpointError(f"{folder} has {_count(extra)} that config.json has no place for")
    if config.quantization and dtype == torch.bfloat16 and device.type == "cpu":
        _pack(model, config.quantization)
    return model.eval().requires_grad_(False)


def shards(folder: Path) -> list[Path]:
    """The weight files of a checkpoint: those of its index, or every .safetensors. Raises CheckpointError."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        files = sorted(folder.glob("*.safetensors"))
    else:
        try:
            files = sorted({folder / name for name in json.loads(index.read_text("utf-8"))["weight_map"].values()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{index} is damaged: download it again") from error
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise CheckpointError(f"{folder} lacks {_count(missing, 'file')}: download the checkpoint again")
    if not files:
        raise CheckpointError(f"{folder} holds no .safetensors file: are the weights downloaded?")
    return files


def parameter_count(config: KimiConfig) -> tuple[int, int]:
    """(all parameters, parameters at work on one token, without the embedding look-up)."""
    model = Transformer.on_meta(config)
    total = sum(p.numel() for p in model.parameters())
    idle = len(config.kda_layers + config.mla_layers) - len(config.dense_layers)
    idle *= (config.experts - config.top_k) * 3 * config.expert_inner * config.hidden
    lookup = 0 if config.tied else config.vocab_size * config.hidden
    return total, total - idle - lookup


def _pack(model: Transformer, quantization: dict[str, Any]) -> None:
    """Hold a quantised checkpoint's matrices packed as well, for one token at a time."""
    head = "model.embed_tokens.weight" if model.config.tied else "lm_head.weight"
    for parameter in model.parameters():
        if isinstance(parameter, Weight):
            how = {**quantization, **(quantization.get("tensors", {}).get(head, {}) if parameter is model.head else {})}
            parameter.pack(how["bits"], how["group"])


def _allocate(config: KimiConfig, dtype: torch.dtype, device: torch.device) -> Transformer:
    """The model with room for its weights, floating-point parameters in `dtype` unless they ask for float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            return Transformer(config)
    except torch.OutOfMemoryError as error:
        raise CheckpointError(f"the model does not fit into the memory of {device}") from error
    finally:
        torch.set_default_dtype(before)


def _destinations(model: Transformer) -> dict[str, Tensor]:
    """Full checkpoint name -> the tensor (often a slice of a fused one) that it fills."""
    wanted = {"model.embed_tokens.weight": model.embedding.data, "model.norm.weight": model.norm.data}
    if not model.config.tied:
        wanted["lm_head.weight"] = model.head.data
    for n, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        start = f"model.layers.{n}."
        block = "mlp" if n in model.config.dense_layers else "block_sparse_moe"
        wanted[f"{start}input_layernorm.weight"] = layer.attention_norm.data
        wanted[f"{start}post_attention_layernorm.weight"] = layer.feed_forward_norm.data
        wanted |= {f"{start}self_attn.{name}": view for name, view in layer.attention.checkpoint().items()}
        wanted |= {f"{start}{block}.{name}": view for name, view in layer.feed_forward.checkpoint().items()}
    return wanted


def _own_name(name: str, config: KimiConfig) -> str:
    """transformers writes dense layers under `block_sparse_moe`; the checkpoint itself says `mlp`."""
    match = re.match(r"model\.layers\.(\d+)\.block_sparse_moe\.(gate|up|down)_proj\.weight$", name)
    if match and int(match[1]) in config.dense_layers:
        return name.replace("block_sparse_moe", "mlp")
    return name


def _tensors(folder: Path, config: KimiConfig) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of every shard, quantised ones as real numbers."""
    for file in shards(folder):
        try:
            with safe_open(file, framework="pt") as shard:
                for name in shard.keys():  # noqa: SIM118 - a shard is no dict
                    if name.endswith((".scale", ".zero")):
                        continue
                    if name.endswith(".q"):
                        weight = name.removesuffix(".q")
                        yield weight, _dequantized(shard, weight, config)
                    else:
                        yield name, shard.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} cannot be read ({error}): download it again") from error


def _dequantized(shard: safe_open, weight: str, config: KimiConfig) -> Tensor:
    """A weight stored as integers with a scale and a zero for each group."""
    if config.quantization is None:
        raise CheckpointError(f"{weight} is stored quantised, but config.json does not say how")
    how = {**config.quantization, **config.quantization.get("tensors", {}).get(weight, {})}
    q, scale, zero = (shard.get_tensor(f"{weight}.{part}") for part in ("q", "scale", "zero"))
    return dequantize({"q": q, "scale": scale, "zero": zero}, how["bits"], how["group"])


def _count(names: list[str] | dict[str, Tensor], noun: str = "tensor") -> str:
    names = sorted(names)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (f"1 {noun}: " if len(names) == 1 else f"{len(names)} {noun}s: ") + ", ".join(names[:8]) + more
