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

REACH = 2
"""Tokens on either side that are added to one."""

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
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, config: PointerConfig, eps: float) -> None:
        super().__init__()
        hidden, inner = config.hidden, config.inner
        self.head_dim, self.eps = config.head_dim, eps
        self.qkv, self.out = _parameter(3 * hidden, hidden), _parameter(hidden, hidden)
        self.gate, self.up, self.down = (_parameter(*of) for of in ((inner, hidden), (inner, hidden), (hidden, inner)))
        self.mixed_norm, self.norm = _parameter(hidden), _parameter(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """x [T, C] -> [T, C]."""
        given = F.rms_norm(x, x.shape[-1:], self.mixed_norm, self.eps)
        q, k, v = F.linear(given, self.qkv).view(len(x), 3, -1, self.head_dim).transpose(0, 2).unbind(1)  # [H, T, d]
        mixed = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
        x = x + F.linear(mixed.transpose(0, 1).flatten(1), self.out)
        given = F.rms_norm(x, x.shape[-1:], self.norm, self.eps)
        return x + F.linear(F.silu(F.linear(given, self.gate)) * F.linear(given, self.up), self.down)


class Pointer(nn.Module):
    """Scores of a question's tokens; see `forward`."""

    def __init__(self, config: KimiConfig) -> None:
        super().__init__()
        shape, self.eps = config.pointer, config.eps
        assert shape is not None
        self.enter = _parameter(shape.hidden, 2 * config.hidden)
        self.near = _parameter(2 * REACH, shape.hidden)
        """What the tokens two before, one before, one behind and two behind add to one: order, which attention alone
        does not know."""
        self.layers = nn.ModuleList(PointerLayer(shape, config.eps) for _ in range(shape.layers))
        self.norm, self.score = _parameter(shape.hidden), _parameter(2, shape.hidden)

    def checkpoint(self) -> dict[str, Tensor]:
        """Checkpoint name -> where that tensor goes."""
        return {name if name == "near" else f"{name}.weight": p.data for name, p in self.named_parameters()}

    def forward(self, looked_at: Tensor, hidden: Tensor, block: Block) -> Tensor:
        """Of tokens among which is a question the residual stream behind the layer that is looked at and what the
        model gives, each [N, D] -> float32 scores [T, 2] of the question's T tokens to begin and to end the answer. The
        last one's are those of no answer; others outside the evidence are NEVER."""
        looked_at, hidden = (part[block.begin : block.end] for part in (looked_at, hidden))
        x = F.linear(torch.cat((F.rms_norm(looked_at, looked_at.shape[-1:], None, self.eps), hidden), -1), self.enter)
        around, count = F.pad(x, (0, 0, REACH, REACH)), len(x)
        for by, weight in zip((-2, -1, 1, 2), self.near, strict=True):
            x = x + around[REACH + by : REACH + by + count] * weight
        for layer in self.layers:
            x = layer(x)
        x = F.rms_norm(x, x.shape[-1:], self.norm, self.eps)
        scores = F.linear(x.float(), self.score.float())
        scores[: block.first - block.begin] = NEVER
        scores[block.last - block.begin : -1] = NEVER
        return scores


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape))
