"""The KDA layer: projections, short convolution, gated delta rule, gated norm."""

import torch
from torch import Tensor, nn

from kernels import backend, conv, kda_prefill, norm
from kernels.kda_decode import DecodeWeights, decode
from kernels.linear import Weight, linear, pair
from model.config import KimiConfig
from model.state import KDAState


class KDA(nn.Module):
    """Kimi Delta Attention. Everything that reads x is one matrix: q, k, v, the two gates' first factors, beta."""

    def __init__(self, config: KimiConfig) -> None:
        super().__init__()
        self.heads, self.dim, self.eps = config.kda_heads, config.kda_dim, config.eps
        channels, hidden = config.kda_channels, config.hidden
        self.sizes = [3 * channels, self.dim, self.dim, self.heads]
        self.input = Weight(torch.empty(sum(self.sizes), hidden))
        self.conv = nn.Parameter(torch.empty(3 * channels, config.conv_taps))
        self.decay_up = Weight(torch.empty(channels, self.dim))
        self.gate_up = Weight(torch.empty(channels, self.dim))
        self.a_log = nn.Parameter(torch.empty(self.heads, dtype=torch.float32))
        self.dt_bias = nn.Parameter(torch.empty(channels, dtype=torch.float32))
        self.norm = nn.Parameter(torch.empty(self.dim))
        self.output = Weight(torch.empty(hidden, channels))

    def checkpoint(self) -> dict[str, Tensor]:
        """Checkpoint name -> where that tensor goes."""
        names = ["q_proj", "k_proj", "v_proj", "f_a_proj", "g_a_proj", "b_proj"]
        channels = self.heads * self.dim
        pieces = self.input.data.split([channels] * 3 + self.sizes[1:])
        convs = self.conv.data.split(channels)
        return {
            **{f"{name}.weight": piece for name, piece in zip(names, pieces, strict=True)},
            **{f"{c}_conv1d.weight": piece for c, piece in zip("qkv", convs, strict=True)},
            "f_b_proj.weight": self.decay_up.data,
            "g_b_proj.weight": self.gate_up.data,
            "A_log": self.a_log.data,
            "dt_bias": self.dt_bias.data,
            "o_norm.weight": self.norm.data,
            "o_proj.weight": self.output.data,
        }

    def forward(self, x: Tensor, state: KDAState, since: int = 0) -> Tensor:
        """x [T, D] -> [T - since, D], of the tokens from `since` on; `state` moves on by T tokens."""
        read = self._read_one if x.shape[0] == 1 and backend.use_triton(x) else self.read
        return self.join(read(*self.project(x), state)[since:])

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [T, D] -> qkv [T, 3 H K], the raw gate of the state and that of the output [T, H, K], beta [T, H]."""
        qkv, decay, gate, beta = linear(x, self.input).split(self.sizes, -1)
        raw, gate = pair(decay, gate, self.decay_up, self.gate_up)
        return qkv, self._heads(raw), self._heads(gate), beta

    def join(self, o: Tensor) -> Tensor:
        """Heads back to one: o [T, H, V] -> [T, D]."""
        return linear(o.flatten(-2), self.output)

    def read(self, qkv: Tensor, raw: Tensor, gate: Tensor, beta: Tensor, state: KDAState) -> Tensor:
        """Convolution, delta rule and gated norm of T tokens: -> [T, H, V]."""
        qkv, state.conv = conv.short_conv(qkv, self.conv, state.conv)
        q, k, v = qkv.unflatten(-1, (3, self.heads, self.dim)).unbind(-3)
        dt_bias = self.dt_bias.view(self.heads, self.dim)
        o, state.recurrent, _ = kda_prefill.prefill(q, k, v, raw, beta, self.a_log, dt_bias, state.recurrent)
        return norm.gated_rms_norm(o, gate, self.norm, self.eps)

    def _read_one(self, qkv: Tensor, raw: Tensor, gate: Tensor, beta: Tensor, state: KDAState) -> Tensor:
        """`read` of one token as one kernel."""
        y, tail, recurrent = self.step(qkv, raw, gate, beta, state.conv[None], state.recurrent[None])
        state.conv, state.recurrent = tail[0], recurrent[0]
        return y

    def step(
        self, qkv: Tensor, raw: Tensor, gate: Tensor, beta: Tensor, tail: Tensor, recurrent: Tensor,
        in_place: bool = False, settled: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One token of each of B documents between the projections; arguments and results as `kda_decode.decode`'s."""
        weights = DecodeWeights(self.conv, self.a_log, self.dt_bias, self.norm, self.eps)
        return decode(qkv, raw, gate, beta, weights, tail, recurrent, in_place, settled)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.dim))
