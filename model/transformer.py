"""The whole model, from token ids to logits."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import norm
from kernels.linear import Weight, linear
from model.config import KimiConfig
from model.kda import KDA
from model.mla import MLA
from model.moe import MoE, SwiGLU
from model.state import KDAState, MLAState, ModelState


class Layer(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, config: KimiConfig, number: int) -> None:
        super().__init__()
        self.eps = config.eps
        self.attention: MLA | KDA = MLA(config) if number in config.mla_layers else KDA(config)
        dense = number in config.dense_layers
        self.feed_forward: SwiGLU | MoE = SwiGLU(config.hidden, config.dense_inner) if dense else MoE(config)
        self.attention_norm = nn.Parameter(torch.empty(config.hidden))
        self.feed_forward_norm = nn.Parameter(torch.empty(config.hidden))

    def forward(self, x: Tensor, state: KDAState | MLAState) -> Tensor:
        """x [T, D] -> [T, D]; `state` moves on by T tokens."""
        attended = self.attention(norm.rms_norm(x, self.attention_norm, self.eps), state)
        x, normed = norm.add_rms_norm(x, attended, self.feed_forward_norm, self.eps)
        return x + self.feed_forward(normed)


class Transformer(nn.Module):
    """Kimi Linear: embedding, layers, final norm, output matrix."""

    def __init__(self, config: KimiConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Weight(torch.empty(config.vocab_size, config.hidden))
        self.layers = nn.ModuleList(Layer(config, n) for n in range(config.layers))
        self.norm = nn.Parameter(torch.empty(config.hidden))
        self.head = self.embedding if config.tied else Weight(torch.empty(config.vocab_size, config.hidden))

    def forward(self, ids: Tensor, state: ModelState) -> Tensor:
        """ids int64 [T] -> hidden [T, D] after the final norm; `state`, which the caller owns, moves on by T tokens."""
        x = F.embedding(ids, self.embedding)
        for layer, layer_state in zip(self.layers, state.layers, strict=True):
            x = layer(x, layer_state)
        state.tokens += ids.shape[0]
        return norm.rms_norm(x, self.norm, self.config.eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [T, D] -> float32 logits [T, vocabulary]."""
        return linear(hidden, self.head).float()

    @staticmethod
    def on_meta(config: KimiConfig) -> "Transformer":
        """The model without memory behind it, to count and name what it would hold."""
        with torch.device("meta"):
            return Transformer(config).requires_grad_(False)
