"""Triton's interpreter, mended.

As it comes (Triton 3.6 to 3.9) it multiplies bfloat16 operands of a dot by their bits, truncates float32 to
bfloat16 and fp8, takes float16 for the bits of either, and multiplies float32 in full where a GPU would take tf32. With
`faithful_bfloat16` what a test measures on a CPU is the rounding a GPU would do.
"""

from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton._C.libtriton.ir import INPUT_PRECISION
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

NARROW = {tl.bfloat16: (torch.bfloat16, np.uint16), tl.float8e4nv: (torch.float8_e4m3fn, np.uint8)}
"""Types the interpreter keeps as bits: what PyTorch calls them, and the bits' own type."""


def faithful_bfloat16() -> None:
    """Make the interpreter's bfloat16 and e4m3 round to nearest and multiply as numbers."""
    plain_cast = InterpreterBuilder.cast_impl

    def widened(x: Any) -> Any:
        if x.dtype.scalar not in NARROW:
            return x.data
        dtype, bits = NARROW[x.dtype.scalar]
        signed = np.ascontiguousarray(x.data).view(np.dtype(bits).str.replace("u", "i"))
        return torch.from_numpy(signed).view(dtype).float().numpy()

    def cast(self: Any, src: Any, to: Any) -> Any:
        if src.dtype.scalar in NARROW:
            src = TensorHandle(widened(src), tl.float32)
            return src if to.scalar == tl.float32 else cast(self, src, to)
        if src.dtype.scalar == tl.float16 and to.scalar in NARROW:
            src = plain_cast(self, src, tl.float32)
        if src.dtype.scalar == tl.float32 and to.scalar in NARROW:
            dtype, bits = NARROW[to.scalar]
            whole = torch.int16 if bits == np.uint16 else torch.int8
            rounded = torch.from_numpy(np.ascontiguousarray(src.data)).to(dtype).view(whole)
            return TensorHandle(rounded.numpy().view(bits).reshape(src.data.shape), to.scalar)
        return plain_cast(self, src, to)

    def dot(_self: Any, a: Any, b: Any, d: Any, precision: Any, *_how: Any) -> Any:
        x, y = widened(a), widened(b)
        if precision == INPUT_PRECISION.TF32 and a.dtype.scalar == tl.float32:
            x, y = _tf32(x), _tf32(y)
        return TensorHandle(np.matmul(x, y, dtype=d.data.dtype) + d.data, d.dtype.scalar)

    def cast_rounding(self: Any, src: Any, to: Any, _rounding: Any) -> Any:
        return cast(self, src, to)

    InterpreterBuilder.create_dot = dot
    InterpreterBuilder.create_fp_to_fp = cast_rounding
    InterpreterBuilder.create_fp_ext = InterpreterBuilder.create_fp_trunc = cast


def _tf32(x: Any) -> Any:
    """float32 with the 10 bits behind the point that a tensor core reads of it: what follows is cut off."""
    return (np.ascontiguousarray(x).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
