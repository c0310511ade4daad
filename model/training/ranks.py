"""One run on several GPUs, under torchrun: every rank reads batches of its own, and gradients are averaged.

Started plainly there is one rank, and nothing here costs anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is. `clock` is a CPU group for small facts all must agree on."""

    rank: int = 0
    world: int = 1
    clock: Any = None

    @property
    def first(self) -> bool:
        """Whether this rank writes logs and checkpoints."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over all ranks, in place, in one float32 exchange."""
        if self.world == 1:
            return
        flat = torch.cat([t.flatten().float() for t in tensors])
        distributed.all_reduce(flat)
        flat /= self.world
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def agree(self, value: float) -> float:
        """The first rank's value, on every rank: how far a timed phase is, say."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, 0, group=self.clock)
        return float(shared)


def join(device: str) -> Ranks:
    """Join the other ranks that torchrun started, if it did."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks()
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())  # a rank may see its own only
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    return Ranks(distributed.get_rank(), world, distributed.new_group(backend="gloo"))


def part() -> None:
    """Leave together: a rank that goes while another still talks to it makes that one fail."""
    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
