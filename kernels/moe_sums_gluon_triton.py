"""What a warpgroup of `moe_grouped_gluon_triton` adds up: 64 rows times 256 columns of a tile, step by step (Gluon).

fp8: no second sum beside the accumulator. It is kept in units of the scale of the block that comes next (a row's scale
times a weight block's): behind block k's products it is multiplied by scale(k) / scale(k + 1), one half of the columns
while the tensor cores multiply the other.
"""
# mypy: disallow-untyped-defs=False

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)

SUMS = gl.constexpr(gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 128, 32]))
"""Which thread holds what of 64 rows and 128 columns of fp8's products."""

BY_ROW = gl.constexpr(gl.SliceLayout(1, SUMS.value))


@gluon.jit
def _await(full, n, UP: gl.constexpr):
    """Until the n-th step's operands are there; what cp.async wrote is made known to the tensor cores."""
    STAGES: gl.constexpr = full.shape[0]
    mbarrier.wait(full.index(n % STAGES), (n // STAGES) & 1)
    if UP:
        fence_async_shared()


@gluon.jit
def sums(a_bufs, b_bufs, full, free, n, PART: gl.constexpr, UP: gl.constexpr, STEPS: gl.constexpr):
    """A warpgroup's 64 rows times 256 columns, as two halves of the columns."""
    STAGES: gl.constexpr = a_bufs.shape[0]
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 256, 16])
    acc = gl.zeros([64, 256], gl.float32, layout)
    for k in range(STEPS):
        _await(full, n, UP)
        a, b = a_bufs.index(n % STAGES).slice(64 * PART, 64), b_bufs.index(n % STAGES).permute((1, 0))
        acc = warpgroup_mma(a, b, acc, is_async=True)
        acc = warpgroup_mma_wait(1, deps=[acc])
        mbarrier.arrive(free.index((n + STAGES - 1) % STAGES), count=1, pred=k > 0)
        n += 1
    acc = warpgroup_mma_wait(0, deps=[acc])
    mbarrier.arrive(free.index((n + STAGES - 1) % STAGES), count=1)
    left, right = acc.reshape([64, 2, 128]).permute((0, 2, 1)).split()
    return left, right


@gluon.jit
def scaled_sums(
    a_bufs, b_bufs, full, free, rows, left_ptr, right_ptr, n, stride,
    PART: gl.constexpr, UP: gl.constexpr, STEPS: gl.constexpr,
):  # fmt: skip
    """The same of fp8 numbers. Scales lie at rows, and `stride` further for every step, at left_ptr and right_ptr."""
    STAGES: gl.constexpr = a_bufs.shape[0]
    left, right = gl.zeros([64, 128], gl.float32, SUMS), gl.zeros([64, 128], gl.float32, SUMS)
    scale, left_scale, right_scale = _scales(rows, left_ptr, right_ptr, True)
    left_unit, right_unit = scale * left_scale, scale * right_scale
    scale, left_scale, right_scale = _scales(rows + stride, left_ptr + 1, right_ptr + 1, STEPS > 1)
    for k in range(STEPS):
        next_left, next_right = scale * left_scale, scale * right_scale
        shrink_left, shrink_right = left_unit / next_left, right_unit / next_right
        left_unit, right_unit = next_left, next_right
        _await(full, n, UP)
        a, b = a_bufs.index(n % STAGES).slice(64 * PART, 64), b_bufs.index(n % STAGES)
        left = warpgroup_mma(a, b.slice(0, 128).permute((1, 0)), left, is_async=True)
        right = warpgroup_mma(a, b.slice(128, 128).permute((1, 0)), right, is_async=True)
        ahead = k + 2  # behind the products, since a fence waits for loads before it
        scale, left_scale, right_scale = _scales(
            rows + ahead * stride, left_ptr + ahead, right_ptr + ahead, ahead < STEPS
        )
        left = warpgroup_mma_wait(1, deps=[left])
        left = left * shrink_left[:, None]
        right = warpgroup_mma_wait(0, deps=[right])
        mbarrier.arrive(free.index(n % STAGES), count=1)
        right = right * shrink_right[:, None]
        n += 1
    return left, right


@gluon.jit
def _scales(rows, left_ptr, right_ptr, there):
    """A block's scales of rows and of both weight blocks; behind the last block 1. None is zero (`quant`)."""
    scale = gl.load(rows, mask=there, other=1.0)
    return scale, gl.load(left_ptr, mask=there, other=1.0), gl.load(right_ptr, mask=there, other=1.0)
