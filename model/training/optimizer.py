"""float32 master weights for a bf16 student, moved by AdamW or, for matrices, by Muon.

Muon replaces a matrix's momentum by its nearest (semi-)orthogonal matrix, through a quintic Newton-Schulz iteration in
bf16 (K. Jordan and others, 2024); scaled so that an update has the size of an AdamW one (Moonlight, 2025). Matrices of
one shape go through it together. With `grid`, the student's copy is the stored 4- and 8-bit grid of the master, so
training sees what will be shipped (the gradient passes straight through); matrices of three values, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from model import quantize, ternary
from model.training.export import GROUP, bits_of

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ADAM_NAMES = ("embed", "router", "b_proj", "conv1d", "norm", "A_log", "dt_bias", "near", "score", "places", "bias")


@torch.no_grad()
def orthogonal(update: Tensor, steps: int = 5) -> Tensor:
    """[N, out, in] -> about the nearest semi-orthogonal matrices, in bf16."""
    a, b, c = COEFFICIENTS
    x = update.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def round_trip(weight: Tensor, bits: int) -> Tensor:
    """What a matrix becomes once stored in so many bits."""
    return ternary.round_trip(weight) if bits == ternary.BITS else quantize.round_trip(weight, bits, GROUP)


class Optimizer:
    """Steps what of a student learns. `lr` is given at each step; `embed_scale` multiplies it for the embedding; `bits`
    says in how many bits a parameter is stored (None: plainly)."""

    def __init__(self, student: nn.Module, muon: bool, embed_scale: float = 0.3, grid: bool = False,
                 bits: Callable[[str], int | None] = bits_of) -> None:
        self.params = {name: p for name, p in student.named_parameters() if p.requires_grad}
        self.masters = {name: p.detach().float().clone() for name, p in self.params.items()}
        self.muon = [n for n in self.params if muon and not any(w in n for w in ADAM_NAMES)]
        self.adam = [n for n in self.params if n not in set(self.muon)]
        self.first = {n: torch.zeros_like(m) for n, m in self.masters.items()}
        self.second = {n: torch.zeros_like(self.masters[n]) for n in self.adam}
        self.embed_scale, self.grid, self.bits, self.steps = embed_scale, grid, bits, 0
        self.round_trip: Any = round_trip
        if next(iter(self.params.values())).is_cuda:
            self.round_trip = torch.compile(round_trip, dynamic=False)

    @torch.no_grad()
    def step(self, lr: float, clip: float = 1.0, betas: tuple[float, float] = (0.9, 0.95)) -> Tensor:
        """One update from the gradients, which are then dropped; returns the gradient norm before clipping."""
        self.steps += 1
        grads = {n: p.grad.float() for n, p in self.params.items() if p.grad is not None}
        norm = torch.stack(torch._foreach_norm(list(grads.values()))).norm()
        torch._foreach_mul_(list(grads.values()), torch.clamp(clip / (norm + 1e-6), max=1.0))
        self._adam([n for n in self.adam if n in grads], grads, lr, betas)
        self._muon([n for n in self.muon if n in grads], grads, lr)
        self.publish()
        for p in self.params.values():
            p.grad = None
        return norm

    def _adam(self, names: list[str], grads: dict[str, Tensor], lr: float, betas: tuple[float, float]) -> None:
        g, m, v = ([table[n] for n in names] for table in (grads, self.first, self.second))
        torch._foreach_lerp_(m, g, 1 - betas[0])
        torch._foreach_mul_(v, betas[1])
        torch._foreach_addcmul_(v, g, g, 1 - betas[1])
        root = torch._foreach_div(v, 1 - betas[1] ** self.steps)
        torch._foreach_sqrt_(root)
        torch._foreach_add_(root, 1e-8)
        change = torch._foreach_div(m, root)
        size = lr / (1 - betas[0] ** self.steps)
        for n, c in zip(names, change, strict=True):
            self.masters[n].sub_(c, alpha=size * (self.embed_scale if n == "embed" else 1.0))

    def _muon(self, names: list[str], grads: dict[str, Tensor], lr: float) -> None:
        shapes: dict[tuple[int, ...], list[str]] = {}
        for n in names:
            shapes.setdefault(tuple(grads[n].shape), []).append(n)
        for shape, same in shapes.items():
            g, m = [grads[n] for n in same], [self.first[n] for n in same]
            torch._foreach_lerp_(m, g, 0.05)
            change = orthogonal(torch.stack(torch._foreach_lerp(g, m, 0.95)))
            size = lr * 0.2 * max(shape) ** 0.5
            torch._foreach_sub_([self.masters[n] for n in same], [c.float() * size for c in change.unbind(0)])

    @torch.no_grad()
    def publish(self) -> None:
        """Copy the masters into the student, on the stored grid when asked."""
        for n, p in self.params.items():
            bits = self.bits(n) if self.grid else None
            p.copy_(self.masters[n] if bits is None else self.round_trip(self.masters[n], bits))

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {"masters": self.masters, "first": self.first, "second": self.second, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a saved state (moments only where this optimizer has them) and publish it."""
        for mine, saved in ((self.masters, state["masters"]), (self.first, state["first"]),
                            (self.second, state["second"])):
            for n in mine.keys() & saved.keys():
                mine[n].copy_(saved[n])
        self.steps = state["steps"]
        self.publish()
