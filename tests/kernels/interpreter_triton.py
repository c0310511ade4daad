"""Triton's interpreter, mended.

As it comes (Triton 3.6 to 3.9) it multiplies bfloat16 operands of a dot by their bits and truncates float32 to
bfloat16. With `faithful_bfloat16` what a test measures on a CPU is the rounding a GPU would do.
"""

from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle


def faithful_bfloat16() -> None:
    """Make the interpreter's bfloat16 round to nearest and multiply as numbers."""
    plain_cast = InterpreterBuilder.cast_impl

    def widened(x: Any) -> Any:
        return (x.data.astype(np.uint32) << 16).view(np.float32) if x.dtype.scalar == tl.bfloat16 else x.data

    def cast(self: Any, src: Any, to: Any) -> Any:
        if (src.dtype.scalar, to.scalar) == (tl.bfloat16, tl.float32):
            return TensorHandle(widened(src), tl.float32)
        if (src.dtype.scalar, to.scalar) == (tl.float32, tl.bfloat16):
            rounded = torch.from_numpy(np.ascontiguousarray(src.data)).bfloat16().view(torch.int16)
            return TensorHandle(rounded.numpy().view(np.uint16).reshape(src.data.shape), tl.bfloat16)
        return plain_cast(self, src, to)

    def dot(_self: Any, a: Any, b: Any, d: Any, *_how: Any) -> Any:
        return TensorHandle(np.matmul(widened(a), widened(b), dtype=d.data.dtype) + d.data, d.dtype.scalar)

    InterpreterBuilder.create_dot = dot
    InterpreterBuilder.create_fp_ext = InterpreterBuilder.create_fp_trunc = cast
