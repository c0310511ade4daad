"""The reader as it is shipped: under transformers' names, its layers' matrices of three values or in 4-bit groups, all
else in these, with the word pieces that are ever used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels.quant import Grid
from model import ternary
from model.quantize import quantize
from model.reader import NAMES, WORDS, stored
from model.training.export import GROUP
from model.training.reader import EPS, HEADS, PLACES, Reader

BITS = 4
WIDEN = "bert.embeddings_project.weight"


def tensors(reader: Reader) -> dict[str, Tensor]:
    """Every tensor, or part of one, under the name that transformers' `BertForQuestionAnswering` has for it, and what
    that has not as its `ElectraModel` (the map from narrow word pieces) and its `MPNetModel` (the bias on attention)
    name it. They share the reader's memory."""
    own, start = reader.state_dict(), "bert.embeddings"
    found = {WORDS: own["embed"], f"{start}.position_embeddings.weight": own["places"],
             f"{start}.token_type_embeddings.weight": own["kinds"]}
    for part in ("weight", "bias"):
        found |= {f"{start}.LayerNorm.{part}": own[f"norm.{part}"], f"qa_outputs.{part}": own[f"score.{part}"]}
        for n in range(reader.sizes[0]):
            layer = f"bert.encoder.layer.{n}"
            three = own[f"layers.{n}.qkv.{part}"].chunk(3)
            found |= {f"{layer}.attention.self.{name}.{part}": one
                      for name, one in zip(("query", "key", "value"), three, strict=True)}
            found |= {f"{layer}.{theirs}.{part}": own[f"layers.{n}.{mine}.{part}"] for mine, theirs in NAMES.items()}
    if reader.widen is not None:
        found[WIDEN] = own["widen.weight"]
    if "bias" in own:
        found["bert.encoder.relative_attention_bias.weight"] = own["bias"]
    return found


def is_on_grid(tensor: Tensor) -> bool:
    """Whether a tensor is stored in groups: matrices are, what is small is not."""
    return tensor.dim() == 2 and tensor.shape[-1] % GROUP == 0 and len(tensor) > 2


def stored_bits(reader: Reader) -> dict[str, int]:
    """The bits of each of a reader's parameters that is not stored plainly, by our names."""
    grid = {name: BITS for name, one in reader.named_parameters() if is_on_grid(one)}
    matrices = {name: ternary.BITS for name, one in reader.named_parameters()
                if name.startswith("layers.") and one.dim() == 2}
    return grid | matrices if reader.ternary else grid


def used(lessons: Sequence[Path], tokenizer: dict[str, Any]) -> list[int]:
    """The word pieces to keep: those that lessons have, special ones, and single characters, which spell the others."""
    vocab = tokenizer["model"]["vocab"]
    seen = np.zeros(len(vocab), dtype=bool)
    for file in lessons:
        seen[np.unique(np.load(file)["ids"])] = True
    seen[[added["id"] for added in tokenizer["added_tokens"] if added["content"] != "[MASK]"]] = True
    seen[[id for piece, id in vocab.items() if len(piece.removeprefix("##")) == 1]] = True
    return [int(id) for id in np.flatnonzero(seen)]


def ship(reader: Reader, tokenizer: Path, kept: Sequence[int], folder: Path) -> None:
    """Write config.json, tokenizer.json and model.safetensors of a reader. kept: word pieces, ascending."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Tensor] = {}
    for name, one in tensors(reader).items():
        one = one.detach().cpu().contiguous()
        one = one[reader.numbers(torch.tensor(kept))] if name == WORDS else one
        if reader.ternary and one.dim() == 2 and ".layer." in name:
            three = ternary.pack(one)
            written |= {f"{name}.packed": three.packed, f"{name}.scale": three.scale}
        elif is_on_grid(one):
            grid = quantize(one.float(), BITS, GROUP)
            written |= {f"{name}.q": grid.q, f"{name}.scale": grid.scale, f"{name}.zero": grid.zero}
        else:
            written[name] = one.bfloat16()
    save_file(written, str(folder / "model.safetensors"), metadata={"format": "pt"})
    layers, _, hidden, inner, *_ = reader.sizes
    config = {
        "architectures": ["BertForQuestionAnswering"], "model_type": "bert", "vocab_size": len(kept),
        "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": inner, "num_attention_heads": HEADS,
        "max_position_embeddings": PLACES, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": EPS,
        "quantization": {"bits": BITS, "group": GROUP} | ({"layers": "ternary"} if reader.ternary else {}),
    }
    if "bias" in reader.state_dict():
        config["relative_attention_num_buckets"] = len(reader.state_dict()["bias"])
    if reader.widen is not None:
        config["embedding_size"] = reader.widen.in_features
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    words = fewer(json.loads(tokenizer.read_text("utf-8")), kept)
    (folder / "tokenizer.json").write_text(json.dumps(words, ensure_ascii=False) + "\n", encoding="utf-8")


@torch.no_grad()
def take_up(reader: Reader, folder: Path, tokenizer: Path) -> None:
    """Put what was shipped into a reader of the same sizes, which then goes on from there: word pieces that were left
    out stay worth what they are to it, as nearly as the shipped map lets them. tokenizer: with all of them."""
    own, kept = (json.loads(file.read_text("utf-8"))["model"]["vocab"]
                 for file in (tokenizer, folder / "tokenizer.json"))
    said = json.loads((folder / "config.json").read_text("utf-8"))["quantization"]
    found, places = dict(stored(folder / "model.safetensors", said, torch.device("cpu"))), tensors(reader)
    if reader.widen is not None:
        back = torch.linalg.pinv(_plain(found[WIDEN], reader.widen.weight)).to(reader.embed)
        reader.embed.copy_(reader.embed @ (back @ reader.widen.weight).T)
    for name, place in places.items():
        one = _plain(found[name], place)
        if name == WORDS:
            place[reader.numbers(torch.tensor([own[piece] for piece in kept])).to(place.device)] = one.to(place)
        else:
            place.copy_(one)


def _plain(stored: Grid | ternary.Ternary | Tensor, like: Tensor) -> Tensor:
    """What is stored of a tensor as a plain one, float32, of the size of another."""
    if isinstance(stored, Grid):
        return stored.values(torch.float32)
    if isinstance(stored, ternary.Ternary):
        return stored.signs(like.shape[1]) * stored.scale.float()[:, None]
    return stored.float()


def fewer(tokenizer: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """A WordPiece tokenizer.json with these pieces alone, numbered anew in their order."""
    new = {old: n for n, old in enumerate(kept)}
    vocab = {piece: new[id] for piece, id in tokenizer["model"]["vocab"].items() if id in new}
    added = [each | {"id": new[each["id"]]} for each in tokenizer["added_tokens"] if each["id"] in new]
    return tokenizer | {
        "truncation": None, "padding": None, "added_tokens": added, "post_processor": None,
        "model": tokenizer["model"] | {"vocab": dict(sorted(vocab.items(), key=lambda one: one[1]))},
    }
