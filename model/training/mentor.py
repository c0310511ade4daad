"""A larger reader for the one that is shipped to learn from: MPNet (Song et al., 2020, arXiv 2004.09297).

The base model as sentence-transformers ship it (110 M parameters, Apache-2.0; on PyPI in five packages): BERT's layers,
and a bias on attention for how far a token stands from another (`model.distance`).
Its word pieces are BERT's under other numbers, so both read the same lessons, token for token, and what the mentor
thinks of each can be learned (Hinton et al., 2015, arXiv 1503.02531; `tuning.reader`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model import distance
from model.training.packing import Pack
from model.training.reader import HEADS, PLACES, Reader, sequence

SPECIAL = {0: 1, 100: 104, 101: 0, 102: 2}
"""BERT's [PAD], [UNK], [CLS] and [SEP] by MPNet's numbers; any other piece has its own number and four."""
Kind = TypeVar("Kind", bound="Mentor")
_NAMES = {"out": "attention.attn.o", "mixed_norm": "attention.LayerNorm", "up": "intermediate.dense",
          "down": "output.dense", "norm": "output.LayerNorm"}


class Mentor(Reader):
    """MPNet with a reader's two scores; it takes BERT's ids."""

    def __init__(self, layers: int = 12, vocab: int = 30_527, hidden: int = 768, inner: int = 3072,
                 width: int = 0) -> None:
        super().__init__(layers, vocab, hidden, inner, width)
        self.bias = nn.Parameter(torch.empty(distance.BUCKETS, HEADS), requires_grad=False)  # it need not learn

    def numbers(self, ids: Tensor) -> Tensor:
        """See `Reader`."""
        own = ids + 4
        for theirs, mine in SPECIAL.items():
            own = own.masked_fill(ids == theirs, mine)
        return own

    def mixer(self, pack: Pack) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Attention inside each sequence, with the bias. All sequences are padded to the longest."""
        longest, tokens = -(-pack.longest // 8) * 8, int(pack.borders_cpu[-1])
        place = torch.arange(longest, device=pack.borders.device)
        there = place < pack.borders.diff()[:, None]  # [N, L]
        gather = (pack.borders[:-1, None] + place).clamp_max(tokens - 1)
        back = sequence(pack, tokens) * longest + pack.position
        added = distance.bias(self.bias, longest).masked_fill(~there[:, None, None], -math.inf)  # [N, H, L, L]

        def mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (part[gather].transpose(1, 2) for part in (q, k, v))
            return F.scaled_dot_product_attention(q, k, v, attn_mask=added).transpose(1, 2).flatten(0, 1)[back]

        return mix


def load(file: Path, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Mentor:
    """The encoder of sentence-transformers' `model.safetensors`, with scores that are yet to be learned."""
    from safetensors.torch import load_file

    found, model = load_file(str(file)), Mentor()
    own = model.state_dict()
    nn.init.normal_(model.score.weight, std=0.02)
    nn.init.zeros_(model.score.bias)
    own["kinds"].zero_()  # MPNet has none
    own["embed"].copy_(found["embeddings.word_embeddings.weight"])
    own["places"].copy_(found["embeddings.position_embeddings.weight"][2 : 2 + PLACES])
    own["bias"].copy_(found["encoder.relative_attention_bias.weight"])
    for part in ("weight", "bias"):
        own[f"norm.{part}"].copy_(found[f"embeddings.LayerNorm.{part}"])
        for n in range(len(model.layers)):
            theirs = f"encoder.layer.{n}"
            three = [found[f"{theirs}.attention.attn.{name}.{part}"] for name in "qkv"]
            own[f"layers.{n}.qkv.{part}"].copy_(torch.cat(three))
            for mine, name in _NAMES.items():
                own[f"layers.{n}.{mine}.{part}"].copy_(found[f"{theirs}.{name}.{part}"])
    return model.to(device, dtype)


def trained(kind: type[Kind], file: Path, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Kind:
    """A mentor, or what became of one, that has learned, from the state that was saved of it."""
    state = torch.load(file, weights_only=True, map_location="cpu")
    layers, (vocab, width) = sum(name.endswith("qkv.bias") for name in state), state["embed"].shape
    hidden, inner = len(state["norm.bias"]), len(state["layers.0.up.bias"])
    model = kind(layers, vocab, hidden, inner, width if "widen.weight" in state else 0)
    model.load_state_dict(state)
    return model.to(device, dtype).eval()
