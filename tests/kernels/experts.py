"""Random experts in each format, and the mixture they stand for in float64."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels import moe, quant
from kernels.quant import Weights
from tests.kernels.device import DEVICE

PACK = {"bf16": lambda weight: weight, "fp8": quant.to_fp8, "int4": quant.to_int4}


@dataclass(frozen=True)
class Mixture:
    """The arguments of `moe.mixture`."""

    x: Tensor
    weights: Tensor
    chosen: Tensor
    gate_up: Weights
    down: Weights
    shared: tuple[Weights, Weights]

    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Weights, Weights, tuple[Weights, Weights]]:
        """In the order of `moe.mixture`."""
        return self.x, self.weights, self.chosen, self.gate_up, self.down, self.shared

    def exact(self) -> Tensor:
        """What they add up to, in float64."""
        gate_up, down = (wide(weight) for weight in (self.gate_up, self.down))
        shared = (wide(self.shared[0]), wide(self.shared[1]))
        return moe.mixture(self.x.double(), self.weights.double(), self.chosen, gate_up, down, shared)


def wide(weight: Weights) -> Tensor:
    """What a weight stands for, in float64."""
    return quant.dequantize(weight, torch.float32).double()


def draw(
    tokens: int, experts: int, top_k: int, width: int, inner: int, pieces: int, form: str, dtype: torch.dtype
) -> Mixture:
    """Random tokens and experts of unit scale."""
    random = torch.Generator(DEVICE).manual_seed(tokens)

    def randn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, device=DEVICE)

    chosen = torch.rand(tokens, experts, generator=random, device=DEVICE).topk(top_k).indices
    gate_up, down = randn(experts, 2 * inner, width) * width**-0.5, randn(experts, width, inner) * inner**-0.5
    shared = (randn(2 * pieces * inner, width) * width**-0.5, randn(width, pieces * inner) * (pieces * inner) ** -0.5)
    pack = PACK[form]
    weights = torch.rand(tokens, top_k, generator=random, device=DEVICE)
    return Mixture(
        randn(tokens, width).to(dtype), weights, chosen, pack(gate_up.to(dtype)), pack(down.to(dtype)),
        (pack(shared[0].to(dtype)), pack(shared[1].to(dtype))),
    )  # fmt: skip
