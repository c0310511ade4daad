"""A matrix on its stored grid times one token, by Numba: what is read is 4 or 8 bits a number.

A value is level * scale + zero, so a group of 64 gives scale * sum(level x) + zero * sum(x). Of 4 bits a byte holds two
neighbouring columns: the token's even and odd numbers are laid apart once for all matrices that meet it.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from kernels.numbers_numba import high, kernel, low, prefetch
from kernels.quant import GROUP, Grid

AHEAD, LINE = 4096, 64
"""Bytes that are asked for before they are needed, and bytes of a cache line. A processor foresees no more than a few
kilobytes itself, and waits for the others: half of a token's time."""


class Stored(NamedTuple):
    """Matrices on a grid: q uint8 [..., O, I/2] (4 bits) or [..., O, I] (8 bits); scale and zero float32
    [..., O, I/64]."""

    q: Any
    scale: Any
    zero: Any


class Given(NamedTuple):
    """One token's numbers: x float32 [I], those of even and of odd places [I/2], and their sums by groups [I/64]."""

    x: Any
    even: Any
    odd: Any
    sums: Any


def stored(grids: Sequence[Grid], stack: Sequence[int] = ()) -> Stored:
    """The rows of several grids of one form, in groups of 64, one below the other; [E] of them under each other where
    they are a stack of matrices."""
    parts = [torch.cat([getattr(grid, part) for grid in grids]) for part in ("q", "scale", "zero")]
    q, scale, zero = (part.unflatten(0, (*stack, -1)) if stack else part for part in parts)
    return Stored(q.numpy(), scale.float().numpy(), zero.float().numpy())


@kernel
def given(x):
    """A token float32 [I], I a multiple of 64, as its matrices take it."""
    half, groups = len(x) // 2, len(x) // GROUP
    even, odd, sums = np.empty(half, np.float32), np.empty(half, np.float32), np.empty(groups, np.float32)
    for n in range(half):
        even[n] = x[2 * n]
        odd[n] = x[2 * n + 1]
    for g in range(groups):
        total = np.float32(0.0)
        for n in range(g * GROUP, g * GROUP + GROUP):
            total += x[n]
        sums[g] = total
    return Given(x, even, odd, sums)


@kernel
def times(matrix, token, out):
    """A stored matrix [O, I] times what `given` made of a token, into out float32 [O]."""
    if matrix.q.shape[1] * 2 == len(token.x):
        _times_4_bits(matrix.q, matrix.scale, matrix.zero, token.even, token.odd, token.sums, out)
    else:
        _times_8_bits(matrix.q, matrix.scale, matrix.zero, token.x, token.sums, out)


@kernel
def _times_4_bits(q, scale, zero, even, odd, sums, out):
    """Four rows at a time: the token is loaded once for them."""
    rows, groups = scale.shape
    width, whole = q.shape[1], rows // 4 * 4
    for r in range(0, whole, 4):
        a = b = c = d = np.float32(0.0)
        for g in range(groups):
            prefetch(q, r * width + g * 128 + AHEAD)
            prefetch(q, r * width + g * 128 + AHEAD + LINE)
            s = t = u = v = np.float32(0.0)
            for j in range(32):
                n = g * 32 + j
                e, o = even[n], odd[n]
                s += low(q[r, n]) * e + high(q[r, n]) * o
                t += low(q[r + 1, n]) * e + high(q[r + 1, n]) * o
                u += low(q[r + 2, n]) * e + high(q[r + 2, n]) * o
                v += low(q[r + 3, n]) * e + high(q[r + 3, n]) * o
            a += s * scale[r, g] + zero[r, g] * sums[g]
            b += t * scale[r + 1, g] + zero[r + 1, g] * sums[g]
            c += u * scale[r + 2, g] + zero[r + 2, g] * sums[g]
            d += v * scale[r + 3, g] + zero[r + 3, g] * sums[g]
        out[r], out[r + 1], out[r + 2], out[r + 3] = a, b, c, d
    for r in range(whole, rows):
        a = np.float32(0.0)
        for g in range(groups):
            s = np.float32(0.0)
            for j in range(32):
                n = g * 32 + j
                s += low(q[r, n]) * even[n] + high(q[r, n]) * odd[n]
            a += s * scale[r, g] + zero[r, g] * sums[g]
        out[r] = a


@kernel
def _times_8_bits(q, scale, zero, x, sums, out):
    rows, groups = scale.shape
    for r in range(rows):
        a = np.float32(0.0)
        for g in range(groups):
            prefetch(q, r * q.shape[1] + g * GROUP + AHEAD)
            s = np.float32(0.0)
            for j in range(GROUP):
                n = g * GROUP + j
                s += np.float32(q[r, n]) * x[n]
            a += s * scale[r, g] + zero[r, g] * sums[g]
        out[r] = a


@kernel
def dense(matrix, x, out):
    """A float32 matrix [O, I] times x [I], into out [O]."""
    for r in range(matrix.shape[0]):
        a = np.float32(0.0)
        for n in range(matrix.shape[1]):
            a += matrix[r, n] * x[n]
        out[r] = a


@kernel
def rms_norm(x, weight, eps):
    """`norm.rms_norm` of one token, float32 [D]."""
    total = np.float32(0.0)
    for n in range(len(x)):
        total += x[n] * x[n]
    scale = np.float32(1.0) / np.sqrt(total / np.float32(len(x)) + eps)
    return x * scale * weight
