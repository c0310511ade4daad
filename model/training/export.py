"""The student's weights under the checkpoint's names, in 4- and 8-bit groups, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels.quant import Grid
from model.quantize import quantize
from model.training.compensate import compensate
from model.training.student import FeedForward, Student

BITS = {"embed": 8, "f_b_proj": 8, "g_b_proj": 8}
"""Bits by the parameter's last name (`weight` aside), as a run learns with them and `export` writes them."""
EMBED, EMBED_BITS = "model.embed_tokens.weight", 4
"""The embedding, which is the head as well, and its bits once `requantise` has rounded it with care."""
PLAIN = ("A_log", "dt_bias", "norm", "conv1d", "bias", "router", "b_proj")
"""Parts of the names of parameters that else stay as they are: small, or sensitive; the others have DEFAULT_BITS."""
Stored = dict[str, Tensor]
"""Tensors by their names in a checkpoint's files."""
DEFAULT_BITS, GROUP = 4, 64
SHARD_BYTES = 45_000_000


def bits_of(name: str) -> int | None:
    """Stored bits of a student parameter, None for one that is stored plainly."""
    last = name.removesuffix(".weight").split(".")[-1]
    return BITS.get(last, None if any(word in last for word in PLAIN) else DEFAULT_BITS)


def names(student: Student) -> Iterator[tuple[str, str, slice, int]]:
    """For every tensor of the checkpoint: its name, our parameter's name, the slice of it, and the sliced dimension."""
    whole = slice(None)
    yield EMBED, "embed", whole, 0
    yield "model.norm.weight", "norm", whole, 0
    for n, layer in enumerate(student.layers):
        theirs, ours = f"model.layers.{n}.", f"layers.{n}."
        yield theirs + "input_layernorm.weight", ours + "input_norm", whole, 0
        yield theirs + "post_attention_layernorm.weight", ours + "post_norm", whole, 0
        for name, _ in layer.attention.named_parameters():
            suffix = "" if name in ("A_log", "dt_bias") else ".weight"
            yield f"{theirs}self_attn.{name}{suffix}", f"{ours}attention.{name}", whole, 0
        yield from _feed_forward_names(layer.mlp, theirs, ours + "mlp.")


def _feed_forward_names(mlp: FeedForward, theirs: str, ours: str) -> Iterator[tuple[str, str, slice, int]]:
    parts = [("gate", "gate_proj", "w1", 0), ("up", "up_proj", "w3", 0), ("down", "down_proj", "w2", 1)]
    if not mlp.experts:
        for mine, name, _, dim in parts:
            yield f"{theirs}mlp.{name}.weight", ours + mine, slice(None), dim
        return
    theirs += "block_sparse_moe."
    yield theirs + "gate.weight", ours + "router", slice(None), 0
    yield theirs + "gate.e_score_correction_bias", ours + "bias", slice(None), 0
    size = (mlp.gate.shape[0] - mlp.shared) // mlp.experts
    for mine, name, short, dim in parts:
        yield f"{theirs}shared_experts.{name}.weight", ours + mine, slice(0, mlp.shared), dim
        for e in range(mlp.experts):
            start = mlp.shared + e * size
            yield f"{theirs}experts.{e}.{short}.weight", ours + mine, slice(start, start + size), dim


def checkpoint(student: Student) -> dict[str, tuple[Tensor, int | None]]:
    """Every tensor of the checkpoint by its name, with its stored bits (None: plain)."""
    ours = student.state_dict()
    result = {}
    for name, mine, part, dim in names(student):
        value = ours[mine][part] if dim == 0 else ours[mine][:, part]
        result[name] = (value.detach().contiguous().cpu(), bits_of(mine))
    return result


def plain_dtype(name: str) -> torch.dtype:
    """The dtype a plainly stored tensor has."""
    return torch.float32 if name.endswith(("A_log", "dt_bias", "e_score_correction_bias")) else torch.bfloat16


def export(student: Student, folder: Path) -> dict[str, Any]:
    """Write config.json and the safetensors shards; returns the `quantization` entry of the config."""
    found = checkpoint(student)
    stored = [_stored(name, value, bits) for name, (value, bits) in found.items()]
    return _write(folder, stored, student.config, {name: bits for name, (_, bits) in found.items()})


def requantise(shipped: Path, folder: Path, products: Tensor) -> dict[str, Any]:
    """The same of weights that were exported before, the embedding in EMBED_BITS, rounded for the head's inputs with
    these mean products [C, C] (`compensate.look`). What else is stored in other bits by now is quantised anew; all that
    has its bits stays as it was, to the last one."""
    student = load_export(shipped)
    found, before, bits_before = checkpoint(student), _read(shipped), _bits(shipped)
    found[EMBED] = found[EMBED][0], EMBED_BITS
    parts = ("", ".q", ".scale", ".zero")
    stored: list[Stored] = []
    for name, (value, bits) in found.items():
        if not bits or (f"{name}.q" in before and bits == bits_before(name)):
            stored.append({full: before[full] for part in parts if (full := f"{name}{part}") in before})
        elif name == EMBED:
            stored.append(_parts(name, compensate(value, products, bits, GROUP)))
        else:
            stored.append(_stored(name, value, bits))
    return _write(folder, stored, student.config, {name: bits for name, (_, bits) in found.items()})


def _stored(name: str, value: Tensor, bits: int | None) -> Stored:
    """A tensor as the files hold it."""
    return _parts(name, quantize(value, bits, GROUP)) if bits else {name: value.to(plain_dtype(name))}


def _parts(name: str, grid: Grid) -> Stored:
    """A matrix on a grid as the files hold it."""
    return {f"{name}.q": grid.q, f"{name}.scale": grid.scale, f"{name}.zero": grid.zero}


def _write(folder: Path, stored: Iterable[Stored], config: dict[str, Any], bits: dict[str, int | None]
           ) -> dict[str, Any]:
    """The files of a checkpoint: a tensor's parts are in one file, as the loader takes them."""
    from safetensors.torch import save_file

    shards: list[Stored] = [{}]
    for parts in stored:
        if sum(t.nbytes for t in (*shards[-1].values(), *parts.values())) > SHARD_BYTES:
            shards.append({})
        shards[-1] |= parts
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.safetensors"):
        old.unlink()
    files = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        save_file(shard, str(folder / file), metadata={"format": "pt"})
    index = {"metadata": {"total_size": sum(t.nbytes for shard in shards for t in shard.values())},
             "weight_map": {name: file for file, shard in zip(files, shards, strict=True) for name in shard}}
    overrides = {name: {"bits": n, "group": GROUP} for name, n in bits.items() if n not in (None, DEFAULT_BITS)}
    quantization = {"bits": DEFAULT_BITS, "group": GROUP, "tensors": overrides}
    _write_json(folder / "model.safetensors.index.json", index)
    _write_json(folder / "config.json", config | {"quantization": quantization})
    return quantization


def _read(folder: Path) -> Stored:
    """All that a checkpoint's files hold."""
    from safetensors.torch import load_file

    stored: Stored = {}
    for file in sorted(folder.glob("*.safetensors")):
        stored |= load_file(str(file))
    return stored


def _bits(folder: Path) -> Callable[[str], int]:
    """How many bits each tensor of a checkpoint that is stored in groups has."""
    said = json.loads((folder / "config.json").read_text())["quantization"]
    return lambda name: int(said["tensors"].get(name, said)["bits"])


def load_export(folder: Path) -> Student:
    """A student (float32, CPU) from a folder that `export` wrote: how a next session resumes from shipped weights."""
    config = json.loads((folder / "config.json").read_text())
    bits_of, _ = _bits(folder), config.pop("quantization")
    student, stored = Student(config), _read(folder)
    state = student.state_dict()
    for name, mine, part, dim in names(student):
        if name in stored:
            value = stored[name].float()
        else:
            q, scale, zero = (stored[f"{name}.{part}"] for part in ("q", "scale", "zero"))
            value = Grid(q, scale, zero, bits_of(name)).values(torch.float32)
        target = state[mine][part] if dim == 0 else state[mine][:, part]
        target.copy_(value)
    return student


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json: ChatML, no automatic system turn, end of turn as the end."""
    template = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
                "'<|im_end|>' + '\n' }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>", "add_prefix_space": False,
        "clean_up_tokenization_spaces": False, "model_max_length": 1_048_576, "chat_template": template})
    _write_json(folder / "generation_config.json", {
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
        "onceread": {"evidence": 1, "excerpt": 220, "choose_quotes": True, "fit": 20.0, "refuse": 0.5,
                     "refuse_far": 2.5, "none": 3.5, "none_far": 8.0, "none_open": 10.0, "sure": 4.0, "point": -10.0}})
