"""What Numba's kernels have in common: how they are compiled, and numbers that Python has no type for.

A kernel here is a loop over NumPy arrays that LLVM makes vector code of, for whatever processor it runs on. PyTorch
takes microseconds for an operation on a few hundred numbers, and one token is some ten thousand such operations: a
kernel does a whole layer's in one call. Compiling takes seconds, once for an installation: the code is kept on disk.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from llvmlite import ir
from numba import config, extending, njit, types
from torch import Tensor, bfloat16, uint16

FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Sums in any order, as vectors need them; infinities and what is no number stay what they are."""

SOURCES = sorted(Path(__file__).parent.glob("*_numba.py"))
VERSION = hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()[:16]
"""Of all kernels: Numba would use a kernel's code again though another that it calls has changed."""

CACHE = platformdirs.user_cache_path("onceread", appauthor=False) / f"kernels-{VERSION}"
settings: Any = config
settings.CACHE_DIR = str(CACHE)
intrinsic: Any = extending.intrinsic

I8, I16, I32, F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called with such arguments, and keep the code on disk where there is a
    place for it."""
    options: dict[str, Any] = {"nogil": True, "fastmath": FAST, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that may be written to
        return njit(**options)(function)


def bits(x: Tensor) -> np.ndarray:
    """A tensor's memory as an array: bfloat16's as uint16."""
    return (x.view(uint16) if x.dtype == bfloat16 else x).numpy()


def is_compiled() -> bool:
    """Whether these kernels, as they are now, were compiled on this machine before."""
    return any(CACHE.glob("*/*.nbc"))


@intrinsic
def low(typing, byte):
    """The lower half of a byte as a float."""
    return types.float32(types.uint8), lambda c, b, s, args: _to_float(b, b.and_(args[0], ir.Constant(I8, 15)))


@intrinsic
def high(typing, byte):
    """The upper half of a byte as a float."""
    return types.float32(types.uint8), lambda c, b, s, args: _to_float(b, b.lshr(args[0], ir.Constant(I8, 4)))


@intrinsic
def wide(typing, number):
    """A stored number as a float: float32 as it is, uint16 as the bits of a bfloat16."""

    def generate(context, b, signature, args):
        if number == types.float32:
            return args[0]
        return b.bitcast(b.shl(b.zext(args[0], I32), ir.Constant(I32, 16)), F32)

    return types.float32(number), generate


@intrinsic
def narrow(typing, number, like):
    """A float as it is stored where `like` is: the bits of the nearest bfloat16 (of two the even one), or itself."""

    def generate(context, b, signature, args):
        if like == types.float32:
            return args[0]
        bits = b.bitcast(args[0], I32)
        odd = b.and_(b.lshr(bits, ir.Constant(I32, 16)), ir.Constant(I32, 1))
        rounded = b.add(bits, b.add(odd, ir.Constant(I32, 0x7FFF)))
        return b.trunc(b.lshr(rounded, ir.Constant(I32, 16)), I16)

    return like(types.float32, like), generate


@intrinsic
def _times_power(typing, number, exponent):
    """number * 2^exponent, for a number near 1 and a whole exponent in -126..126 given as a float."""

    def generate(context, b, signature, args):
        whole = b.fptosi(args[1], I32)
        return b.bitcast(b.add(b.bitcast(args[0], I32), b.shl(whole, ir.Constant(I32, 23))), F32)

    return types.float32(types.float32, types.float32), generate


@intrinsic
def prefetch(typing, array, place):
    """Ask for the cache line of the byte so far behind an array's beginning; it may lie beyond its end."""

    def generate(context, b, signature, args):
        of, _ = signature.args
        data = b.bitcast(context.make_array(of)(context, b, args[0]).data, ir.PointerType(I8))
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(I8), I32, I32, I32])
        hint = b.module.declare_intrinsic("llvm.prefetch", [ir.PointerType(I8)], kind)
        b.call(hint, [b.gep(data, [args[1]]), ir.Constant(I32, 0), ir.Constant(I32, 3), ir.Constant(I32, 1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@kernel
def exp2(x):
    """2^x of a float32, to 2e-7 of itself, without a call, so that loops over it become vectors; x is kept within
    -126..126."""
    x = min(max(x, np.float32(-126.0)), np.float32(126.0))
    whole = np.floor(x + np.float32(0.5))
    f = x - whole
    p = np.float32(1.5403530e-4)
    p = p * f + np.float32(1.3333558e-3)
    p = p * f + np.float32(9.6181291e-3)
    p = p * f + np.float32(5.5504109e-2)
    p = p * f + np.float32(2.4022651e-1)
    p = p * f + np.float32(6.9314718e-1)
    return _times_power(p * f + np.float32(1.0), whole)


@kernel
def exp(x):
    """e^x of a float32; see `exp2`."""
    return exp2(x * np.float32(1.4426950408889634))


@kernel
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return np.float32(1.0) / (np.float32(1.0) + exp(-x))


def _to_float(b, byte):
    return b.uitofp(b.zext(byte, I32), F32)
