"""The whole model, from token ids to logits."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import norm
from kernels.linear import Weight, linear
from kernels.quant import Form, Fp8, Int4, parts
from model.config import KimiConfig
from model.errors import device_errors
from model.kda import KDA
from model.mla import MLA
from model.moe import MoE, SwiGLU
from model.state import KDAState, MLAState, ModelState


class Layer(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, config: KimiConfig, number: int, form: Form = "bf16") -> None:
        super().__init__()
        self.eps = config.eps
        self.attention: MLA | KDA = MLA(config) if number in config.mla_layers else KDA(config)
        dense = number in config.dense_layers
        self.feed_forward: SwiGLU | MoE = SwiGLU(config.hidden, config.dense_inner) if dense else MoE(config, form)
        self.attention_norm = nn.Parameter(torch.empty(config.hidden))
        self.feed_forward_norm = nn.Parameter(torch.empty(config.hidden))

    def forward(self, x: Tensor, state: KDAState | MLAState, since: int = 0) -> Tensor:
        """x [T, D] -> [T - since, D], of the tokens from `since` on; `state` moves on by T tokens."""
        attended = self.attention(norm.rms_norm(x, self.attention_norm, self.eps), state, since)
        if since == x.shape[0]:
            return x[since:]
        x, normed = norm.add_rms_norm(x[since:], attended, self.feed_forward_norm, self.eps)
        return x + self.feed_forward(normed)


class Transformer(nn.Module):
    """Kimi Linear: embedding, layers, final norm, output matrix. `form` is the experts'; all else is as it is."""

    def __init__(self, config: KimiConfig, form: Form = "bf16") -> None:
        super().__init__()
        self.config, self.form = config, form
        self.embedding = Weight(torch.empty(config.vocab_size, config.hidden))
        self.layers = nn.ModuleList(Layer(config, n, form) for n in range(config.layers))
        self.norm = nn.Parameter(torch.empty(config.hidden))
        self.head = self.embedding if config.tied else Weight(torch.empty(config.vocab_size, config.hidden))

    @device_errors()
    def forward(self, ids: Tensor, state: ModelState, since: int = 0) -> Tensor:
        """ids int64 [T] -> hidden [T - since, D] after the final norm, of the tokens from `since` on; `state`, which
        the caller owns, moves on by T tokens. For those before `since` the last layer does only what its state needs.
        """
        x = F.embedding(ids, self.embedding)
        for n, (layer, layer_state) in enumerate(zip(self.layers, state.layers, strict=True), 1):
            x = layer(x, layer_state, since if n == len(self.layers) else 0)
        state.tokens += ids.shape[0]
        return norm.rms_norm(x, self.norm, self.config.eps) if len(x) else x

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [T, D] -> float32 logits [T, vocabulary]."""
        return linear(hidden, self.head).float()

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor that holds weights: the parameters, and the parts of quantised experts."""
        yield from self.parameters()
        for module in self.modules():
            for value in vars(module).values():
                if isinstance(value, (Fp8, Int4)):
                    yield from parts(value)

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(tensor.nbytes for tensor in self.tensors())

    @staticmethod
    def on_meta(config: KimiConfig, form: Form = "bf16", dtype: torch.dtype | None = None) -> "Transformer":
        """The model without memory behind it, to count and name what it would hold."""
        return Transformer.allocate(config, dtype or torch.get_default_dtype(), torch.device("meta"), form)

    @staticmethod
    def allocate(config: KimiConfig, dtype: torch.dtype, device: torch.device, form: Form = "bf16") -> "Transformer":
        """The model with room for its weights, floating-point parameters in `dtype` unless they ask for float32."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with device:
                return Transformer(config, form).requires_grad_(False)
        finally:
            torch.set_default_dtype(before)
