"""Weights from a checkpoint folder into the model: streamed, every gap and every leftover named.

Shards are read one tensor at a time, straight to the model's device, and experts are quantised as they come: the
device holds the model and one tensor, the host no more than a shard beside. The names are the checkpoint's own
(Moonshot's, and the two variations that transformers writes).
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kernels import quant
from kernels.linear import Weight, can_multiply_stored
from kernels.quant import Form, Grid, Weights
from model import memory
from model.config import KimiConfig
from model.errors import CheckpointError, device_errors
from model.transformer import Layer, Transformer

Progress = Callable[[int, int], None]
"""Told how many bytes of the checkpoint were read, and of how many."""


def unseen(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


def load(
    folder: Path, config: KimiConfig, dtype: torch.dtype, device: torch.device, form: Form = "bf16",
    files: Iterable[Path] | None = None, progress: Progress = unseen,
) -> Transformer:
    """The model of `folder`, ready to run, its experts in `form`.

    files: the shards as they come, each needed no longer once the next is asked for; by default the folder's. Raises
    CheckpointError naming missing, extra or misshapen tensors, or what there is no memory for; DeviceError where that
    shows later; ConfigError where the experts cannot have that form.
    """
    memory.check(config, dtype, device, form)
    grids: dict[str, Grid] = {}
    with device_errors():
        model = Transformer.allocate(config, dtype, device, form)
        fill(model, _tensors(shards(folder) if files is None else files, config, device, progress, grids), str(folder))
    if device.type == "cpu" and can_multiply_stored(dtype):
        _keep(model, grids)
    return model.eval()


def fill(model: Transformer, tensors: Iterable[tuple[str, Tensor]], source: str) -> None:
    """Put a checkpoint's tensors where they belong, in the model's dtypes and the form of its experts.

    Raises CheckpointError naming what `source` lacks, has beyond, or has in another shape.
    """
    wanted = destinations(model)
    extra = []
    for name, tensor in tensors:
        name = _own_name(name, model.config)
        if name not in wanted:
            extra.append(name)
            continue
        place = wanted.pop(name)
        shape = quant.shape(place)
        if tensor.squeeze().shape != torch.Size(n for n in shape if n != 1):
            shapes = f"{list(tensor.shape)}, not {list(shape)}"
            raise CheckpointError(f"{name} in {source} has shape {shapes}: weights and config.json do not match")
        quant.store(place, tensor.reshape(shape))
    if wanted:
        raise CheckpointError(f"{source} lacks {_count(wanted)}: download the checkpoint again")
    if extra:
        raise CheckpointError(f"{source} has {_count(extra)} that config.json has no place for")


def inspect(folder: Path, config: KimiConfig) -> int:
    """How many tensors a checkpoint has, by its files' headers alone. Raises CheckpointError as `load` does."""
    tensors = list(_headers(shards(folder), config))
    fill(Transformer.on_meta(config), tensors, str(folder))
    return len(tensors)


def shards(folder: Path) -> list[Path]:
    """The weight files of a checkpoint: those of its index, or every .safetensors. Raises CheckpointError."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        files = sorted(folder.glob("*.safetensors"))
    else:
        try:
            files = sorted(folder / name for name in {*json.loads(index.read_text("utf-8"))["weight_map"].values()})
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


def _keep(model: Transformer, grids: dict[str, Grid]) -> None:
    """Let a model's matrices have the grids they were stored on, for a few tokens at a time."""
    owners = {p.untyped_storage().data_ptr(): p for p in model.parameters() if isinstance(p, Weight)}
    places = destinations(model)
    for name, grid in grids.items():
        place = places[_own_name(name, model.config)]
        owner = owners.get(place.untyped_storage().data_ptr()) if isinstance(place, Tensor) else None
        if owner is not None and isinstance(place, Tensor):
            owner.keep((place.storage_offset() - owner.storage_offset()) // owner.shape[-1], grid)


def destinations(model: Transformer) -> dict[str, Weights]:
    """Full checkpoint name -> the tensor (often a slice of a fused one, or of a quantised stack) that it fills."""
    wanted: dict[str, Weights] = {}
    wanted |= {"model.embed_tokens.weight": model.embedding.data, "model.norm.weight": model.norm.data}
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


def _tensors(
    files: Iterable[Path], config: KimiConfig, device: torch.device, progress: Progress, grids: dict[str, Grid]
) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of every shard on the device, quantised ones as real numbers; what they were goes to `grids`."""
    done, total = 0, sum(file.stat().st_size for file in files) if isinstance(files, list) else 0
    for file in files:
        try:
            # Onto a GPU by PyTorch: safetensors pins memory as large as the largest tensor for it, and keeps that.
            with safe_open(file, framework="pt") as shard:
                for name in shard.keys():  # noqa: SIM118 - a shard is no dict
                    if name.endswith((".scale", ".zero")):
                        continue
                    if name.endswith(".q"):
                        weight = name.removesuffix(".q")
                        names = {part: f"{weight}.{part}" for part in ("q", "scale", "zero")}
                        parts = {part: shard.get_tensor(full).to(device) for part, full in names.items()}
                        grids[weight] = Grid(**parts, bits=_how(weight, config)["bits"]).in_bytes()
                        yield weight, grids[weight].values()
                    else:
                        parts = {name: shard.get_tensor(name).to(device)}
                        yield name, parts[name]
                    done += sum(part.nbytes for part in parts.values())
                    progress(done, max(done, total))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} cannot be read ({error}): download it again") from error


def _headers(files: Iterable[Path], config: KimiConfig) -> Iterator[tuple[str, Tensor]]:
    """What `_tensors` gives, without the numbers: on the meta device."""
    for file in files:
        try:
            with safe_open(file, framework="pt") as shard:
                for name in shard.keys():  # noqa: SIM118 - a shard is no dict
                    if name.endswith((".scale", ".zero")):
                        continue
                    weight = name.removesuffix(".q")
                    shape = shard.get_slice(name).get_shape()
                    if weight != name:
                        shape[-1] = shape[-1] * 8 // _how(weight, config)["bits"]
                        _ = [shard.get_slice(f"{weight}.{part}") for part in ("scale", "zero")]  # they are there
                    yield weight, torch.empty(shape, device="meta")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} cannot be read ({error}): download it again") from error


def _how(weight: str, config: KimiConfig) -> dict[str, Any]:
    """How a weight that is stored as integers is: `bits` and `group`."""
    if config.quantization is None:
        raise CheckpointError(f"{weight} is stored quantised, but config.json does not say how")
    return {**config.quantization, **config.quantization.get("tensors", {}).get(weight, {})}


def _count(names: list[str] | dict[str, Weights], noun: str = "tensor") -> str:
    names = sorted(names)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (f"1 {noun}: " if len(names) == 1 else f"{len(names)} {noun}s: ") + ", ".join(names[:8]) + more
