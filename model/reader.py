"""The reader: an encoder beside the model that finds the words of a passage that answer a question, or that none do.

An optional part of a checkpoint, in its folder `reader`: a BERT with two scores for each token, to begin and to end the
answer; those of [CLS] are no answer's (Devlin et al., 2019, arXiv 1810.04805, as for SQuAD 2.0). A decoder reads from
left to right, so what it knows of a word knows nothing of the words behind it; an encoder that is smaller tells better
which words answer, and whether any do. Its word pieces may have fewer dimensions than its layers, its layers'
matrices three values (`model.ternary`), and its attention a bias for distances (`model.distance`). Names of tensors and
keys of config.json are those of transformers' `BertForQuestionAnswering`, and for these of its `ElectraModel` and
`MPNetModel`; other matrices are stored as `model.quantize` does. `model/training/reader.py` teaches it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn

from kernels.quant import Grid
from model import distance
from model.errors import CheckpointError, ConfigError, TokenizerError
from model.ternary import Ternary, TernaryLinear
from model.tokenizer import whole

FOLDER = "reader"
OVERLAP = 128
"""Tokens of a passage too long for one window that the next one reads again."""
MOST_ASKED = 128
"""Tokens of a question that are read."""
NEVER = -1e4
"""The score of a token that nothing has scored yet."""


@dataclass(frozen=True)
class Scores:
    """Of a passage's T tokens, and of no answer behind them: float32 [T + 1, 2] to begin and to end the answer; and the
    characters each token stands for."""

    values: Tensor
    offsets: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Shape:
    """A reader's sizes. places: tokens of a window at most. embed: dimensions of a word piece. buckets: those that
    distances share for a bias on attention, 0 where it has none."""

    layers: int
    hidden: int
    inner: int
    heads: int
    vocab: int
    places: int
    eps: float
    embed: int
    buckets: int
    quantization: dict[str, Any]

    @property
    def ternary(self) -> bool:
        """Whether the layers' matrices have three values."""
        return self.quantization.get("layers") == "ternary"

    @staticmethod
    def of(path: Path) -> "Shape":
        """What a config.json says. Raises ConfigError."""
        keys = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size",
                "max_position_embeddings")
        try:
            said = json.loads(path.read_text("utf-8"))
            layers, hidden, inner, heads, vocab, places = (int(said[key]) for key in keys)
            shape = Shape(layers, hidden, inner, heads, vocab, places, float(said["layer_norm_eps"]),
                          int(said.get("embedding_size") or hidden),
                          int(said.get("relative_attention_num_buckets") or 0), dict(said.get("quantization") or {}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} cannot be used ({error!r}): download the checkpoint again") from error
        if min(layers, heads, vocab, shape.embed) < 1 or hidden % heads or places < MOST_ASKED + 2 * OVERLAP:
            raise ConfigError(f"{path} has sizes that no reader has: download the checkpoint again")
        if shape.buckets not in range(0, 4 * distance.FARTHEST, 4):
            raise ConfigError(f"{path} has {shape.buckets} buckets of distances, as no reader has: download it again")
        if not shape.ternary and "layers" in shape.quantization:
            raise ConfigError(f"{path} stores layers in a way that is not known here: {shape.quantization['layers']!r}")
        return shape


class Layer(nn.Module):
    """A layer of BERT's: norm(x + attention(x)), then norm(x + feed-forward(x))."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        hidden, inner = shape.hidden, shape.inner
        self.heads = shape.heads
        linear = TernaryLinear if shape.ternary else nn.Linear
        self.qkv, self.out = linear(hidden, 3 * hidden), linear(hidden, hidden)
        self.up, self.down = linear(hidden, inner), linear(inner, hidden)
        self.mixed_norm, self.norm = nn.LayerNorm(hidden, shape.eps), nn.LayerNorm(hidden, shape.eps)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x [T, C], and what attention adds to its scores [1, H, T, T], if anything -> [T, C]."""
        q, k, v = self.qkv(x).view(len(x), 3, self.heads, -1).transpose(0, 2).unbind(1)  # [H, T, d]
        mixed = F.scaled_dot_product_attention(q[None], k[None], v[None], bias)[0]
        x = self.mixed_norm(x + self.out(mixed.transpose(0, 1).flatten(1)))
        fed: Tensor = self.norm(x + self.down(F.gelu(self.up(x))))
        return fed


class Reader(nn.Module):
    """A BERT that scores a passage's tokens; see `read`."""

    words: Grid | Tensor
    """The embedding of each word piece [V, C], as it is stored: few of its rows are ever looked at."""

    def __init__(self, shape: Shape, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.shape, self.tokenizer = shape, tokenizer
        self.places, self.kinds = (nn.Parameter(torch.empty(n, shape.hidden)) for n in (shape.places, 2))
        self.norm = nn.LayerNorm(shape.hidden, shape.eps)
        self.widen = nn.Linear(shape.embed, shape.hidden, bias=False) if shape.embed != shape.hidden else None
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.apart = nn.Parameter(torch.empty(shape.buckets, shape.heads)) if shape.buckets else None
        self.score = nn.Linear(shape.hidden, 2)
        self.cls, self.sep = (_special(tokenizer, name) for name in ("[CLS]", "[SEP]"))

    @staticmethod
    def beside(checkpoint: Path, dtype: torch.dtype, device: torch.device) -> "Reader | None":
        """The reader of a checkpoint folder, if it has one. Raises as `load` does."""
        folder = checkpoint / FOLDER
        return Reader.load(folder, dtype, device) if folder.is_dir() else None

    @staticmethod
    def load(folder: Path, dtype: torch.dtype, device: torch.device) -> "Reader":
        """The reader of a folder. Raises ConfigError, TokenizerError, CheckpointError."""
        shape = Shape.of(folder / "config.json")
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # what `tokenizers` raises is a bare Exception
            raise TokenizerError(f"{folder / 'tokenizer.json'} cannot be read ({error})") from error
        size = tokenizer.get_vocab_size()
        if size > shape.vocab:
            counts = f"{size:,} pieces, the reader {shape.vocab:,}"
            raise TokenizerError(f"the tokenizer in {folder} has {counts}: they do not belong together")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        with torch.device("meta"):  # nothing is drawn at random: every tensor is filled
            reader = Reader(shape, tokenizer).to(dtype)
        _give_memory(reader, device)
        with torch.no_grad():
            reader._fill(folder, dict(stored(folder / "model.safetensors", shape.quantization, device)))
        return reader.eval().requires_grad_(False)

    def _fill(self, folder: Path, found: dict[str, Grid | Ternary | Tensor]) -> None:
        wanted = self.destinations()
        if found.keys() != wanted.keys() | {WORDS}:
            odd = sorted(found.keys() ^ (wanted.keys() | {WORDS}))
            raise CheckpointError(f"{folder} lacks, or has beyond its config.json, {', '.join(odd[:8])}: load it again")
        self.words = cast("Grid | Tensor", found.pop(WORDS))  # three values would have brought a name too many
        rows = self.words if isinstance(self.words, Tensor) else self.words.scale
        if len(rows) != self.shape.vocab:
            raise CheckpointError(f"{WORDS} in {folder} has {len(rows)} rows, not {self.shape.vocab}")
        for name, one in found.items():
            place = wanted[name]
            try:
                value = _values(one, place.shape[-1])
            except ValueError as error:
                raise CheckpointError(f"{name} in {folder} has {error}") from error
            if value.shape != place.shape:
                raise CheckpointError(f"{name} in {folder} has shape {list(value.shape)}, not {list(place.shape)}")
            place.copy_(value)

    def destinations(self) -> dict[str, Tensor]:
        """The name of each tensor in the checkpoint, but for WORDS, and the tensor or slice that it fills."""
        found: dict[str, Tensor] = {"bert.embeddings.position_embeddings.weight": self.places.data,
                                    "bert.embeddings.token_type_embeddings.weight": self.kinds.data}
        parts: dict[str, Any] = {"bert.embeddings.LayerNorm": self.norm, "qa_outputs": self.score}
        if self.widen is not None:
            found["bert.embeddings_project.weight"] = self.widen.weight.data
        if self.apart is not None:
            found["bert.encoder.relative_attention_bias.weight"] = self.apart.data
        for n, layer in enumerate(self.layers):
            start = f"bert.encoder.layer.{n}."
            for name, theirs in NAMES.items():
                parts[start + theirs] = getattr(layer, name)
            for part, three in _tensors(layer.qkv).items():
                for name, slice_ in zip(("query", "key", "value"), three.chunk(3), strict=True):
                    found[f"{start}attention.self.{name}.{part}"] = slice_
        for name, module in parts.items():
            found |= {f"{name}.{part}": tensor for part, tensor in _tensors(module).items()}
        return found

    @torch.no_grad()
    def read(self, question: str, passage: str) -> Scores:
        """The scores of a passage's tokens for a question. A passage too long for one window is read in several that
        overlap: each token has the best of its scores, no answer its worst."""
        encoded = self.tokenizer.encode(whole(passage), add_special_tokens=False)
        asked = self.tokenizer.encode(whole(question), add_special_tokens=False).ids[:MOST_ASKED]
        device = self.places.device
        values = torch.full((len(encoded.ids) + 1, 2), NEVER, device=device)
        none: list[Tensor] = []
        room = self.shape.places - len(asked) - 3
        for start in range(0, max(len(encoded.ids) - OVERLAP, 1), room - OVERLAP):
            window = encoded.ids[start : start + room]
            scores = self(self._tensor([self.cls, *asked, self.sep, *window, self.sep]), len(asked) + 2)
            inside = slice(start, start + len(window))
            values[inside] = torch.maximum(values[inside], scores[len(asked) + 2 : -1])
            none.append(scores[0])
        values[-1] = min(none, key=lambda one: float(one.sum()))
        return Scores(values, tuple(encoded.offsets))

    def forward(self, ids: Tensor, first: int) -> Tensor:
        """ids [T], the passage's from number `first` on -> scores to begin and to end [T, 2], float32."""
        kinds = (torch.arange(len(ids), device=ids.device) >= first).long()
        words = self._rows(ids) if self.widen is None else self.widen(self._rows(ids))
        x = self.norm(words + self.places[: len(ids)] + self.kinds[kinds])
        bias = None if self.apart is None else distance.bias(self.apart, len(ids))[None]
        for layer in self.layers:
            x = layer(x, bias)
        scores: Tensor = self.score(x).float()
        return scores

    def _rows(self, ids: Tensor) -> Tensor:
        if isinstance(self.words, Tensor):
            return self.words[ids].to(self.places.dtype)
        words = self.words
        return Grid(words.q[ids], words.scale[ids], words.zero[ids], words.bits).values(self.places.dtype)

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        return torch.tensor(ids, dtype=torch.int64, device=self.places.device)


WORDS = "bert.embeddings.word_embeddings.weight"
NAMES = {"out": "attention.output.dense", "mixed_norm": "attention.output.LayerNorm", "up": "intermediate.dense",
         "down": "output.dense", "norm": "output.LayerNorm"}
"""A layer's parts by our names and by the library's, but for its queries, keys and values."""


def _give_memory(module: nn.Module, device: torch.device) -> None:
    """Memory for parameters and buffers that have none yet. `to_empty` would do it, too, but it brings SymPy: half a
    second."""
    for part in module.modules():
        for name, one in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(torch.empty(one.shape, dtype=one.dtype, device=device)))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=device))


def _tensors(module: Any) -> dict[str, Tensor]:
    """The tensors of a part by what a checkpoint calls them behind its name."""
    if isinstance(module, TernaryLinear):
        return {"weight": module.signs, "weight.scale": module.scale, "bias": module.bias.data}
    return {"weight": module.weight.data, "bias": module.bias.data}


def _values(one: Grid | Ternary | Tensor, columns: int) -> Tensor:
    """What is to be computed with: of three values the signs alone. Raises ValueError as `Ternary.signs` does."""
    if isinstance(one, Ternary):
        return one.signs(columns)
    return one.values(torch.float32) if isinstance(one, Grid) else one


def _special(tokenizer: Tokenizer, name: str) -> int:
    id = tokenizer.token_to_id(name)
    if id is None:
        raise TokenizerError(f"the reader's tokenizer has no {name}: download the checkpoint again")
    return int(id)


def stored(
    file: Path, quantization: dict[str, Any], device: torch.device,
) -> Iterator[tuple[str, Grid | Ternary | Tensor]]:  # fmt: skip
    """Every tensor of a file, quantised ones as they are; those of three values and, by a name of its own, their scale.
    Raises CheckpointError."""
    try:
        with safe_open(file, framework="pt") as shard:
            found = {name: shard.get_tensor(name).to(device) for name in shard.keys()}  # noqa: SIM118 - it is no dict
        for name, tensor in found.items():
            weight, _, part = name.rpartition(".")
            if part == "q":
                scale, zero = (found[f"{weight}.{each}"] for each in ("scale", "zero"))
                yield weight, Grid(tensor, scale, zero, int(quantization["bits"]))
            elif part == "packed":
                scale = found[f"{weight}.scale"]
                yield weight, Ternary(tensor, scale)
                yield f"{weight}.scale", scale
            elif part not in ("scale", "zero"):
                yield name, tensor
    except (SafetensorError, OSError, KeyError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}): download it again") from error
