"""Hopper's copy engine (Gluon): its load, and all memory as one tensor out of which it takes tiles by their address.

The copy engine is told of a tensor before a kernel starts, and a page's address is known on the device only. So it is
told of a tensor [MiB, 16 bytes, row, column] whose strides overlap: every address that is a multiple of 16 has its
coordinates there, and one description serves all pages. A tile that ends early is the last rows of a tile that begins
so much lower: its first row is not 0, and what would lie behind the last one is filled with zeros, not read.
"""
# mypy: disallow-untyped-defs=False

from dataclasses import dataclass
from functools import cache

import torch
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

LAYOUT = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=4)
MATRIX = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=2)
"""How a tile lies in shared memory, as the copy engine knows it and as a matrix."""

LOWEST = gl.constexpr(1 << 20)
"""The address that the tensor begins at. No page lies below, and at 0 the driver would see none."""

copy_tile = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared
"""The copy engine's load, by its name since Triton 3.7 or before."""


@dataclass
class _Memory:
    """What a tensor's description asks of the tensor."""

    dtype: torch.dtype = torch.bfloat16

    def data_ptr(self) -> int:
        """Where it begins."""
        return LOWEST.value


@cache
def tiles(rows: int, width: int, columns: int) -> TensorDescriptor:
    """Tiles of `rows` x `columns` numbers in bfloat16 out of rows of `width`, anywhere in memory (below 2^47)."""
    return TensorDescriptor(
        _Memory(), [1 << 27, 1 << 16, rows, width], [1 << 19, 8, width, 1], [1, 1, rows, columns], LAYOUT
    )


@gluon.jit
def find(address, rows, width: gl.constexpr, height: gl.constexpr):
    """The coordinates [MiB, 16 bytes, row] of a tile of `height` rows at `address`, of which there are `rows`."""
    missing = height - rows
    away = address - missing * (2 * width) - LOWEST
    return (away >> 20).to(gl.int32), ((away & 0xFFFFF) >> 4).to(gl.int32), missing


@gluon.jit
def copy(desc, at, column, buf, full):
    """Ask for a tile's columns from `column` on, into buf [1, 1, rows, columns]; `full` tells when they are there."""
    mbarrier.expect(full, desc.block_type.nbytes)
    copy_tile(desc, [at[0], at[1], at[2], column], full, buf)


@gluon.jit
def matrix(buf):
    """A tile as the matrix that it is."""
    return buf._reinterpret(gl.bfloat16, [buf.shape[2], buf.shape[3]], MATRIX)
