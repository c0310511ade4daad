"""The pointer: which words of the evidence answer a question, judged from the model's hidden states.

An optional part of a checkpoint. A decoder reads evidence from left to right, so what it knows of a word knows nothing
of the words behind it. The pointer is a small encoder over the hidden states of a question with its evidence, each
token seeing all others, with a score for each to begin and to end the answer, and one for no answer (Devlin et al.,
2019, arXiv 1810.04805, as for SQuAD 2.0). `model/training/pointer.py` is how it is trained.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import KimiConfig, PointerConfig

PLACES = 512
"""Tokens of a question that are told apart by where they stand; those behind are taken for the last of them."""

REACH = 2
"""Tokens on either side that are added to one."""

EPS = 1e-12

NEVER = -1e4
"""The score of a token that cannot be."""


@dataclass(frozen=True)
class Block:
    """A question among tokens that are read: its own [begin, end), up to the reply, and of these the evidence's
    [first, last), which may answer."""

    begin: int
    first: int
    last: int
    end: int

    def moved(self, by: int) -> "Block":
        """The same, so many tokens further on."""
        return Block(self.begin + by, self.first + by, self.last + by, self.end + by)


class PointerLayer(nn.Module):
    """A layer of BERT's: norm(x + attention(x)), then norm(x + feed-forward(x))."""

    def __init__(self, config: PointerConfig) -> None:
        super().__init__()
        hidden, inner = config.hidden, config.inner
        self.head_dim = config.head_dim
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.mixed_norm, self.norm = nn.LayerNorm(hidden, EPS), nn.LayerNorm(hidden, EPS)

    def forward(self, x: Tensor) -> Tensor:
        """x [T, C] -> [T, C]."""
        q, k, v = self.qkv(x).view(len(x), 3, -1, self.head_dim).transpose(0, 2).unbind(1)  # [H, T, d]
        mixed = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
        x = self.mixed_norm(x + self.out(mixed.transpose(0, 1).flatten(1)))
        fed: Tensor = self.norm(x + self.down(F.gelu(self.up(x))))
        return fed


class Pointer(nn.Module):
    """Scores of a question's tokens; see `forward`."""

    def __init__(self, config: KimiConfig) -> None:
        super().__init__()
        shape, self.eps = config.pointer, config.eps
        assert shape is not None
        self.enter = nn.Linear((len(shape.look_at) + 1) * config.hidden, shape.hidden, bias=False)
        self.places = nn.Parameter(torch.empty(PLACES, shape.hidden))
        self.near = nn.Parameter(torch.empty(2 * REACH, shape.hidden))
        """What the tokens two before, one before, one behind and two behind add to one."""
        self.layers = nn.ModuleList(PointerLayer(shape) for _ in range(shape.layers))
        self.score = nn.Linear(shape.hidden, 2, bias=False)

    def checkpoint(self) -> dict[str, Tensor]:
        """Checkpoint name -> where that tensor goes."""
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def forward(self, looked_at: Tensor, hidden: Tensor, block: Block) -> Tensor:
        """Of tokens among which is a question the residual stream behind the n layers that are looked at, side by side
        [N, n D], and what the model gives [N, D] -> float32 scores [T, 2] of the question's T tokens to begin and to
        end the answer. The last one's are those of no answer; others outside the evidence are NEVER."""
        looked_at, hidden = (part[block.begin : block.end] for part in (looked_at, hidden))
        parts = looked_at.unflatten(-1, (-1, hidden.shape[-1]))
        x = self.enter(torch.cat((F.rms_norm(parts, parts.shape[-1:], None, self.eps).flatten(1), hidden), -1))
        count = len(x)
        x = x + self.places[torch.arange(count, device=x.device).clamp_max(PLACES - 1)]
        around = F.pad(x, (0, 0, REACH, REACH))
        for by, weight in zip((-2, -1, 1, 2), self.near, strict=True):
            x = x + around[REACH + by : REACH + by + count] * weight
        for layer in self.layers:
            x = layer(x)
        scores = F.linear(x.float(), self.score.weight.float())
        scores[: block.first - block.begin] = NEVER
        scores[block.last - block.begin : -1] = NEVER
        return scores
