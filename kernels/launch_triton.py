"""Launches that overlap (Hopper's programmatic dependent launch): small kernels in a row do without gaps between them.

A kernel launched so may start while the one before it still runs. It `begin`s by letting its own successor do the same
and then waits until its predecessor's results are there, so what follows `begin` sees what it would see without. What
no kernel writes, a matrix, may be asked for between the two.
"""

from functools import lru_cache

import torch

# mypy: allow-untyped-defs
import triton
import triton.language as tl


@triton.jit
def begin(OVERLAP: tl.constexpr):
    """The first line of a kernel: nothing is read or written before the kernel in front has ended."""
    let_next(OVERLAP)
    wait(OVERLAP)


@triton.jit
def let_next(OVERLAP: tl.constexpr):
    """The kernel behind may start."""
    if OVERLAP:
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit
def wait(OVERLAP: tl.constexpr):
    """Until the kernel in front has ended."""
    if OVERLAP:
        tl.extra.cuda.gdc_wait()


@lru_cache(maxsize=8)
def generation(device: torch.device) -> int:
    """The first number of a GPU's compute capability, 9 for Hopper; 0 for what is no GPU."""
    return torch.cuda.get_device_capability(device)[0] if device.type == "cuda" else 0


def overlap(device: torch.device) -> dict[str, bool]:
    """Options of a launch on this device: its kernel takes OVERLAP."""
    able = generation(device) >= 9
    return {"OVERLAP": able, "launch_pdl": able}


@lru_cache(maxsize=8)
def multiprocessors(device: torch.device) -> int:
    """A GPU's; 3 for what is no GPU, so that programs there have several tiles each."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 3
