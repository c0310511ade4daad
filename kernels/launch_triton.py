"""Launches that overlap (Hopper's programmatic dependent launch): small kernels in a row do without gaps between them.

A kernel launched so may start while the one before it still runs. It `begin`s by letting its own successor do the same
and then waits until its predecessor's results are there, so what follows `begin` sees what it would see without. What
no kernel writes, a matrix, may be asked for between the two: by loads, or into the cache only (`ask`), which takes no
registers. While small kernels run, memory has nothing else to do.
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


@triton.jit
def ask(pointer, size, here, OVERLAP: tl.constexpr):
    """`size` bytes from each pointer on, multiples of 16 both, on their way into the GPU's cache; `here`: which."""
    if OVERLAP:
        tl.inline_asm_elementwise(
            """{ .reg .pred p; setp.ne.s32 p, $3, 0; @p cp.async.bulk.prefetch.L2.global [$1], $2; mov.b32 $0, 0; }""",
            "=r,l,r,r", [pointer.to(tl.int64), size, here.to(tl.int32)], dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip


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
