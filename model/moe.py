"""The feed-forward halves of a layer: a dense SwiGLU, or routed experts beside a shared one."""

import torch
from torch import Tensor, nn

from kernels import backend, moe, quant
from kernels.linear import Weight
from kernels.quant import Form, Weights
from model.config import KimiConfig
from model.errors import ConfigError


class SwiGLU(nn.Module):
    """down(silu(gate x) * up x), gate and up in one matrix."""

    def __init__(self, hidden: int, inner: int, form: Form = "bf16") -> None:
        super().__init__()
        self.gate_up = _matrices(form, 2 * inner, hidden)
        self.down = _matrices(form, hidden, inner)

    def checkpoint(self) -> dict[str, Weights]:
        """Checkpoint name -> where that tensor goes."""
        gate, up = _halves(self.gate_up)
        return {"gate_proj.weight": gate, "up_proj.weight": up, "down_proj.weight": _data(self.down)}

    def forward(self, x: Tensor) -> Tensor:
        """x [T, D] -> [T, D]; for matrices as they are: quantised ones are a mixture's."""
        assert isinstance(self.gate_up, Tensor)
        assert isinstance(self.down, Tensor)
        return moe.swiglu(x, self.gate_up, self.down)


class MoE(nn.Module):
    """Routed experts beside a shared expert that every token goes through, in any form."""

    def __init__(self, config: KimiConfig, form: Form = "bf16") -> None:
        super().__init__()
        _check(config, form)
        self.top_k, self.renormalize, self.scaling = config.top_k, config.renormalize, config.routed_scaling
        self.router = nn.Parameter(torch.empty(config.experts, config.hidden))
        self.bias = nn.Parameter(torch.empty(config.experts, dtype=torch.float32))
        self.gate_up = _matrices(form, config.experts, 2 * config.expert_inner, config.hidden)
        self.down = _matrices(form, config.experts, config.hidden, config.expert_inner)
        self.shared = SwiGLU(config.hidden, config.shared_inner, form)

    def checkpoint(self) -> dict[str, Weights]:
        """Checkpoint name -> where that tensor goes."""
        views: dict[str, Weights] = {"gate.weight": self.router.data, "gate.e_score_correction_bias": self.bias.data}
        gates, ups = _halves(self.gate_up)
        for e in range(self.router.shape[0]):
            for name, stack in (("w1", gates), ("w3", ups), ("w2", self.down)):
                views[f"experts.{e}.{name}.weight"] = quant.each(stack, lambda part: part.data[e])  # noqa: B023 - called here
        return views | {f"shared_experts.{name}": view for name, view in self.shared.checkpoint().items()}

    def forward(self, x: Tensor, apart: bool = False) -> Tensor:
        """x [T, D] -> [T, D]. apart, where `comes_apart`: what that is the sum of, as `moe_few_triton.results`."""
        assert not apart or comes_apart(x)
        if backend.use_triton(x):
            from kernels.moe_route_triton import route

            if comes_apart(x):
                if apart:
                    from kernels.moe_few_triton import results as mixture
                else:
                    from kernels.moe_few_triton import mixture
            else:
                from kernels.moe_grouped_triton import mixture
        else:
            from kernels.moe import mixture, route

        weights, chosen = route(x, self.router, self.bias, self.top_k, self.renormalize, self.scaling)
        return mixture(x, weights, chosen, self.gate_up, self.down, (self.shared.gate_up, self.shared.down))

    def after(self, x: Tensor, delta: Tensor, norm: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """Of a few tokens on a GPU, where `comes_apart`: (x + delta, what `forward` of its norm is the sum of)."""
        from kernels.moe_few_triton import results
        from kernels.moe_route_triton import add_norm_route

        how = (self.router, self.bias, self.top_k, self.renormalize, self.scaling)
        x, given, weights, chosen = add_norm_route(x, delta, norm, eps, *how)
        return x, results(given, weights, chosen, self.gate_up, self.down, (self.shared.gate_up, self.shared.down))


def comes_apart(x: Tensor) -> bool:
    """Whether the results of these tokens' experts can be had before they are added up: of a few on a GPU."""
    if not backend.use_triton(x):
        return False
    from kernels.moe_few_triton import TOKENS

    return x.shape[0] <= TOKENS


def _matrices(form: Form, *shape: int) -> Weights:
    """Room for matrices in a form: parameters, unless they are quantised."""
    return Weight(torch.empty(shape)) if form == "bf16" else quant.empty(form, *shape)


def _data(weight: Weights) -> Weights:
    return quant.each(weight, lambda part: part.data)


def _halves(gate_up: Weights) -> tuple[Weights, Weights]:
    """Gates and ups: the upper and the lower half of the rows."""
    first, second = (quant.each(gate_up, lambda part: part.data.chunk(2, -2)[half]) for half in range(2))  # noqa: B023
    return first, second


def _check(config: KimiConfig, form: Form) -> None:
    """Raises ConfigError where the experts' shape has no such form."""
    inner, block = (config.expert_inner, config.shared_inner), quant.BLOCK
    if form != "bf16" and any(n % block for n in inner):  # gates and ups share no block of scales
        raise ConfigError(f"experts {config.expert_inner} wide cannot be {form}: that takes multiples of {block}")
    if form == "int4" and config.hidden % block:
        raise ConfigError(f"a model {config.hidden} wide cannot have int4 experts: that takes multiples of {block}")
