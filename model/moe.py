"""The feed-forward halves of a layer: a dense SwiGLU, or routed experts beside a shared one."""

import torch
from torch import Tensor, nn

from kernels import backend, moe
from kernels.linear import Weight
from model.config import KimiConfig


class SwiGLU(nn.Module):
    """down(silu(gate x) * up x), gate and up in one matrix."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_up = Weight(torch.empty(2 * inner, hidden))
        self.down = Weight(torch.empty(hidden, inner))

    def checkpoint(self) -> dict[str, Tensor]:
        """Checkpoint name -> where that tensor goes."""
        gate, up = self.gate_up.data.chunk(2)
        return {"gate_proj.weight": gate, "up_proj.weight": up, "down_proj.weight": self.down.data}

    def forward(self, x: Tensor) -> Tensor:
        """x [T, D] -> [T, D]."""
        return moe.swiglu(x, self.gate_up, self.down)


class MoE(nn.Module):
    """Routed experts beside a shared expert that every token goes through."""

    def __init__(self, config: KimiConfig) -> None:
        super().__init__()
        self.top_k, self.renormalize, self.scaling = config.top_k, config.renormalize, config.routed_scaling
        self.router = nn.Parameter(torch.empty(config.experts, config.hidden))
        self.bias = nn.Parameter(torch.empty(config.experts, dtype=torch.float32))
        self.gate_up = Weight(torch.empty(config.experts, 2 * config.expert_inner, config.hidden))
        self.down = Weight(torch.empty(config.experts, config.hidden, config.expert_inner))
        self.shared = SwiGLU(config.hidden, config.shared_inner)

    def checkpoint(self) -> dict[str, Tensor]:
        """Checkpoint name -> where that tensor goes."""
        views = {"gate.weight": self.router.data, "gate.e_score_correction_bias": self.bias.data}
        for e, (gate_up, down) in enumerate(zip(self.gate_up.data, self.down.data, strict=True)):
            gate, up = gate_up.chunk(2)
            views |= {f"experts.{e}.w1.weight": gate, f"experts.{e}.w3.weight": up, f"experts.{e}.w2.weight": down}
        return views | {f"shared_experts.{name}": view for name, view in self.shared.checkpoint().items()}

    def forward(self, x: Tensor) -> Tensor:
        """x [T, D] -> [T, D]."""
        if backend.use_triton(x):
            from kernels.moe_few_triton import TOKENS
            from kernels.moe_route_triton import route

            if x.shape[0] <= TOKENS:
                from kernels.moe_few_triton import mixture
            else:
                from kernels.moe_grouped_triton import mixture
        else:
            from kernels.moe import mixture, route

        weights, chosen = route(x, self.router, self.bias, self.top_k, self.renormalize, self.scaling)
        return mixture(x, weights, chosen, self.gate_up, self.down, (self.shared.gate_up, self.shared.down))
