"""A matrix product that also holds under Triton's interpreter, which multiplies the raw bits of two bfloat16 operands."""

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def dot(a, b, acc):
    """acc + a b, accumulated in float32; float32 operands are not rounded to tf32."""
    if INTERPRETED:
        return acc + tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, acc, input_precision="ieee")
