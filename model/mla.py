"""The MLA layer: attention over compressed latents, without rotation."""

import torch
from torch import Tensor, nn

from kernels import backend, mla, norm
from kernels.linear import Weight, linear
from model.config import KimiConfig
from model.state import MLAState

ABSORB_BELOW = 96
"""With fewer new tokens than this, queries go to the latents; with more, latents are expanded to keys and values.

Per past token expanding costs 2 R (nope + V) a head, and attending costs 2 (nope + P + V) a query expanded or
2 (2 R + P) absorbed: the two meet at R (nope + V) / (2 R - nope - V) queries, 99 for mini and 170 for the 48B."""

LATENT_EPS = 1e-6
"""The latent's norm does not follow the configuration's `rms_norm_eps`: Moonshot's model leaves it at its default."""


class MLA(nn.Module):
    """Multi-head latent attention."""

    def __init__(self, config: KimiConfig) -> None:
        super().__init__()
        self.heads, self.rank, self.nope = config.heads, config.rank, config.nope
        self.width = config.nope + config.shared
        self.scale = self.width**-0.5
        self.query = Weight(torch.empty(self.heads * self.width, config.hidden))
        self.down = Weight(torch.empty(config.latent_width, config.hidden))
        self.latent_norm = nn.Parameter(torch.empty(self.rank))
        self.up = nn.Parameter(torch.empty(self.heads * (config.nope + config.value_dim), self.rank))
        self.output = Weight(torch.empty(config.hidden, self.heads * config.value_dim))

    def checkpoint(self) -> dict[str, Tensor]:
        """Checkpoint name -> where that tensor goes."""
        return {
            "q_proj.weight": self.query.data,
            "kv_a_proj_with_mqa.weight": self.down.data,
            "kv_a_layernorm.weight": self.latent_norm.data,
            "kv_b_proj.weight": self.up.data,
            "o_proj.weight": self.output.data,
        }

    def forward(self, x: Tensor, state: MLAState, since: int = 0) -> Tensor:
        """x [T, D] -> [T - since, D], of the tokens from `since` on; `state` gains T rows of latents."""
        q, rows, up = self.project(x, since)
        if not q.shape[1]:
            state.append(rows)
            return x[since:]
        if x.shape[0] == 1 and backend.use_triton(x):  # in its page before it is asked for: one kernel sees all
            state.append(rows)
            past = self.attend_past(q, up, list(state.pages()))
            assert past is not None
            return self.join(past[0], x.dtype)
        o = self.attend_new(q, rows, up, self.attend_past(q, up, list(state.pages())))
        state.append(rows)
        return self.join(o, x.dtype)

    def project(self, x: Tensor, since: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """x [T, D] -> queries of the tokens from `since` on [H, T - since, nope+P], latents [T, R+P], and the map from
        latents to keys and values."""
        q = linear(x[since:], self.query).unflatten(-1, (self.heads, self.width)).transpose(0, 1)
        latent, shared = linear(x, self.down).split([self.rank, self.width - self.nope], -1)
        rows = torch.cat([norm.rms_norm(latent, self.latent_norm, LATENT_EPS), shared], -1)
        return q, rows, self.up.unflatten(0, (self.heads, -1))  # the map: [H, nope+V, R]

    def attend_past(self, q: Tensor, up: Tensor, pages: list[Tensor]) -> tuple[Tensor, Tensor] | None:
        """Attention of q [H, T, nope+P] over all cached pages: (o [H, T, V], lse [H, T]), None without pages."""
        if backend.use_triton(q):
            from kernels.mla_decode_triton import attend_pages
            from kernels.mla_prefill_triton import attend_expanded
        else:
            from kernels.mla import attend_expanded, attend_pages

        if pages and q.shape[1] < ABSORB_BELOW:
            o, lse = attend_pages(mla.absorb(q, up, self.nope), pages, self.rank, self.scale)
            return mla.unabsorb(o, up, self.nope), lse
        return attend_expanded(q, pages, up, self.nope, self.scale, causal=False) if pages else None

    def attend_new(self, q: Tensor, rows: Tensor, up: Tensor, past: tuple[Tensor, Tensor] | None) -> Tensor:
        """Attention of the new tokens to `past` and, causally, to themselves: [H, T, V]."""
        if backend.use_triton(q):
            from kernels.mla_prefill_triton import attend_expanded
        else:
            from kernels.mla import attend_expanded

        return attend_expanded(q, [rows], up, self.nope, self.scale, causal=True, past=past)[0]

    def join(self, o: Tensor, dtype: torch.dtype) -> Tensor:
        """Heads back to one: o [H, T, V] -> [T, D]."""
        return linear(o.to(dtype).transpose(0, 1).flatten(1), self.output)
