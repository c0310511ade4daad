"""Quantised weights into bfloat16 by their bits (Triton): a few whole-number instructions for four of them.

A Hopper GPU's conversions from fp8 to bfloat16, and from whole numbers, take four times as long as other instructions,
and weights that stream through a kernel for a few tokens are converted nearly as fast as they come.
"""
# mypy: disallow-untyped-defs=False

import triton
import triton.language as tl

LIFTED = tl.constexpr(2.0**60)
"""`fp8` leaves numbers 2^120 too small; half of that is made up for in what they are multiplied with, half in its sum,
so that nothing between them leaves float32's range."""


@triton.jit
def fp8(values):
    """e4m3 numbers times 2^-120, exactly: sign, exponent and mantissa where bfloat16 has them."""
    return tl.inline_asm_elementwise(
        """{ .reg .b32 a, b;
        prmt.b32 a, $2, 0, 0x9180; prmt.b32 b, $2, 0, 0xB3A2; // each byte in two, filled up with its sign
        shl.b32 a, a, 4; shl.b32 b, b, 4;
        and.b32 $0, a, 0x87F087F0; and.b32 $1, b, 0x87F087F0; }""",
        "=r,=r,r", [values], dtype=tl.bfloat16, is_pure=True, pack=4,
    )  # fmt: skip


@triton.jit
def nibbles(packed):
    """(the low halves, the high halves) of bytes."""
    low, high = tl.inline_asm_elementwise(
        """{ .reg .b32 a, b; // 0x4300 is 128, whose last bits count ones
        prmt.b32 a, $4, 0, 0x4140; prmt.b32 b, $4, 0, 0x4342;
        lop3.b32 $0, a, 0x000F000F, 0x43004300, 0xEA; lop3.b32 $1, b, 0x000F000F, 0x43004300, 0xEA;
        shr.u32 a, a, 4; shr.u32 b, b, 4;
        lop3.b32 $2, a, 0x000F000F, 0x43004300, 0xEA; lop3.b32 $3, b, 0x000F000F, 0x43004300, 0xEA; }""",
        "=r,=r,=r,=r,r", [packed], dtype=(tl.bfloat16, tl.bfloat16), is_pure=True, pack=4,
    )  # fmt: skip
    return low - 128.0, high - 128.0
