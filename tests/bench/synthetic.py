"""A stand-in for the 48B checkpoint: real names, dtypes, shapes and shards, weights drawn so that it behaves like one.

Activations keep unit scale through all layers, routers spread over all experts, KDA's gates are as large as the real
ones. Each tensor follows from its name alone, bit for bit the same on every device, by integers and a table; so a model
can be filled on a GPU without a disk, and on a CPU with the same weights.
"""

import json
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from safetensors.torch import save_file
from torch import Tensor

from kernels.moe import route
from kernels.quant import Form
from model import weights
from model.config import KimiConfig
from model.moe import MoE
from model.state import ModelState
from model.transformer import Transformer
from tests.checkpoints import PUBLISHED, shapes, write_tokenizer

Config = dict[str, Any]
"""config.json as Hugging Face has it."""

SHARDS = 20
"""Files of the real checkpoint."""

PIECES = {"cpu": 1 << 17}
"""Numbers drawn at once: what stays in a processor's cache; elsewhere enough for a GPU, 16 M."""

LEVELS = 1 << 16
"""Different normal numbers there are; the largest is 4.3."""

DECAY_MEDIAN, DECAY_SPREAD, DECAY_MOST = 3.12, 1.34, 201.0
"""exp(A_log) is log-normal: a mean of 8.3, and of the real model's 640 heads the fastest near 201."""


def reduced(layers: int = 27, experts: int = 256, **changes: Any) -> Config:
    """The 48B's configuration with its first layers and so many experts; `changes` are other keys of config.json."""
    linear = PUBLISHED["linear_attn_config"]
    kept = {kind: [n for n in linear[kind] if n <= layers] for kind in ("kda_layers", "full_attn_layers")}
    config = PUBLISHED | {"num_hidden_layers": layers, "num_experts": experts, "linear_attn_config": linear | kept}
    return config | {"num_experts_per_token": min(8, experts)} | changes


def model(
    config: Config, dtype: torch.dtype = torch.bfloat16, device: str | torch.device = "cpu", form: Form = "bf16"
) -> Transformer:
    """A model of these weights on any device, its experts in any form, ready to run; nothing is written anywhere."""
    device = torch.device(device)
    with torch.no_grad():
        filled = Transformer.allocate(KimiConfig.from_keys(config), dtype, device, form)
        weights.fill(filled, tensors(config, shapes(config), device), "the drawing")
    return filled.eval()


def write(folder: Path, config: Config, shards: int = SHARDS, device: str = "cpu") -> Path:
    """The checkpoint's folder: config.json, an index, all shards (98 GB for the whole of it), and a tokenizer of the
    tests' own: the real one is not to be had."""
    for _ in stream(folder, config, shards, device, keep=True):
        pass
    return folder


def stream(
    folder: Path, config: Config, shards: int = SHARDS, device: str = "cpu", keep: bool = False
) -> Iterator[Path]:
    """Shard after shard, for a loader to read; each is removed, unless to `keep`, when the next is asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2), "utf-8")
    parts = layout(config, shards)
    index = {name: file for file, names in parts.items() for name in names}
    content = {"metadata": {"total_size": total_bytes(config)}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content), "utf-8")
    write_tokenizer(folder)
    for file, names in parts.items():
        drawn = {name: tensor.cpu() for name, tensor in tensors(config, names, torch.device(device))}
        save_file(drawn, folder / file, metadata={"format": "pt"})
        del drawn
        yield folder / file
        if not keep:
            (folder / file).unlink()


def layout(config: Config, shards: int = SHARDS) -> dict[str, list[str]]:
    """File name -> its tensors, in the order of the layers, about as many bytes in each."""
    parts: dict[str, list[str]] = {f"model-{n + 1:05d}-of-{shards:05d}.safetensors": [] for n in range(shards)}
    total, seen = total_bytes(config), 0
    for name, shape in shapes(config).items():
        list(parts.values())[seen * shards // total].append(name)
        seen += math.prod(shape) * dtype_of(name).itemsize
    return parts


def total_bytes(config: Config) -> int:
    """Of all tensors as they are stored."""
    return sum(math.prod(shape) * dtype_of(name).itemsize for name, shape in shapes(config).items())


def tensors(config: Config, names: Iterable[str], device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """Tensor after tensor of these names."""
    wanted = shapes(config)
    for name in names:
        yield name, draw(name, wanted[name], config["num_hidden_layers"], device)


def dtype_of(name: str) -> torch.dtype:
    """As the real checkpoint stores it."""
    return torch.float32 if name.endswith(("A_log", "dt_bias")) else torch.bfloat16


def draw(name: str, shape: tuple[int, ...], layers: int, device: torch.device) -> Tensor:
    """One tensor of a model of so many layers."""
    tensor = torch.empty(shape, dtype=dtype_of(name), device=device)
    middle, spread = scale(name, shape, layers)
    flat, piece = tensor.view(-1), PIECES.get(device.type, 1 << 24)
    for start in range(0, flat.numel(), piece):
        count = min(piece, flat.numel() - start)
        flat[start : start + count] = normal(name, start, count, device).mul_(spread).add_(middle)
    if name.endswith("A_log"):
        flat.clamp_(max=math.log(DECAY_MOST))
        if name == "model.layers.0.self_attn.A_log":  # at any depth one head is as fast as the fastest
            flat[0] = math.log(DECAY_MOST)
    return tensor


def scale(name: str, shape: tuple[int, ...], layers: int) -> tuple[float, float]:
    """Mean and deviation of a tensor. A matrix keeps the scale of its input, but for what is said here."""
    part, unit = name.removesuffix(".weight").rsplit(".", 1)[-1], shape[-1] ** -0.5
    if "norm" in part:
        return 1.0, 0.1
    if part in ("o_proj", "down_proj", "w2"):  # their input is about half the unit; all layers' add up to the embedding
        return 0.0, 2 * unit * (2 * layers) ** -0.5
    return {
        "embed_tokens": (0.0, 1.0),
        "lm_head": (0.0, 3 * unit),
        "q_proj": (0.0, 2.5 * unit),  # MLA attends to some tokens more than to others; KDA norms its queries
        "q_conv1d": (0.0, 0.5), "k_conv1d": (0.0, 0.5), "v_conv1d": (0.0, 0.5),
        "A_log": (math.log(DECAY_MEDIAN), DECAY_SPREAD),
        "dt_bias": (-4.0, 2.0),  # through softplus: most tokens decay slowly,
        "f_b_proj": (0.0, 2 * unit),  # a few by more than 10 x exp(A_log)
        "e_score_correction_bias": (0.0, 0.01),
    }.get(part, (0.0, unit))  # fmt: skip


def normal(name: str, start: int, count: int, device: torch.device) -> Tensor:
    """Standard normal numbers, float32 [count]: from the `start`th on of those that belong to `name`."""
    x = torch.arange(start, start + count, dtype=torch.int32, device=device)
    _mix(x)
    x ^= crc32(name.encode()) - (1 << 31)
    _mix(x)
    return _levels(device).index_select(0, x & (LEVELS - 1))


def _mix(x: Tensor) -> None:
    """Scatter int32 numbers over all others, one to one, in place: C. Wellons' `lowbias32`."""
    x ^= (x >> 16) & 0xFFFF  # `>>` copies the sign
    x *= 0x7FEB352D
    x ^= (x >> 15) & 0x1FFFF
    x *= 0x846CA68B - (1 << 32)
    x ^= (x >> 16) & 0xFFFF


@lru_cache(maxsize=8)
def _levels(device: torch.device) -> Tensor:
    """Standard normal numbers, all equally likely: float32 [LEVELS], the same bits on every device."""
    middles = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    return torch.special.ndtri(middles).float().to(device)


@torch.no_grad()
def spread(filled: Transformer, ids: Tensor) -> Iterator[str]:
    """Which experts these tokens ids int64 [T] go to: figures of the whole model, then a histogram."""
    counts: list[Tensor] = []

    def count(moe: MoE, inputs: tuple[Tensor]) -> None:
        chosen = route(inputs[0], moe.router, moe.bias, moe.top_k, moe.renormalize, moe.scaling)[1]
        counts.append(torch.bincount(chosen.flatten(), minlength=moe.router.shape[0]))

    hooks = [module.register_forward_pre_hook(count) for module in filled.modules() if isinstance(module, MoE)]
    filled(ids, ModelState.empty(filled.config, filled.embedding.dtype, ids.device))
    for hook in hooks:
        hook.remove()
    tokens = torch.stack(counts).cpu()
    used = (tokens > 0).sum(1)
    yield (f"{ids.numel():,} tokens: a layer uses {int(used.min())} to {int(used.max())} of {tokens.shape[1]} experts; "
           f"tokens of one: median {int(tokens.median())}, most {int(tokens.max())}")  # fmt: skip
    share = tokens / tokens.float().mean()
    for low, high in pairwise((0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, math.inf)):
        part = float(((share >= low) & (share < high)).float().mean())
        yield f"  {low:4.2f} to {high:4.2f} of an even share  {part:6.1%}  {'#' * round(50 * part)}"
