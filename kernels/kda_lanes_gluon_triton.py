"""How a chunk of KDA lies in a warp's lanes, so that products need no shuffle, shared memory or barrier (Gluon).

Each of four warps owns 16 tokens. Of 32 channels a lane holds 8 in a row, read and written as 16 bytes, of two tokens
in a row: lane 4g + t has channels 8t to 8t + 7 of tokens 2g and 2g + 1. A product's left operand (mma m16n8k16) wants
rows g and g + 8 and four pairs of channels there, its right operand column g and the same pairs. Order among channels
does not matter to a sum over them, nor order among tokens as long as all agree: so the same registers are a left
operand, a right operand transposed, and what a result comes out as. `turn` only says so, and moves nothing.
"""
# mypy: disallow-untyped-defs=False

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

LOG2E = gl.constexpr(1.4426950408889634)

ACROSS = gl.constexpr([[0, 0, 8], [0, 0, 16], [0, 2, 0], [0, 4, 0], [0, 8, 0]])
"""What a lane's number adds: channels, then tokens."""
WARPS = gl.constexpr([[1, 0, 0], [2, 0, 0]])
BLOCK = gl.constexpr(gl.NVMMADistributedLayout([2, 0], [4, 1, 1], [1, 16, 8]))
"""Scores within blocks of 16 tokens, [4, 16, 16]: a warp has its own."""
ROWS = gl.constexpr(gl.NVMMADistributedLayout([2, 0], [4, 1], [16, 8]))
"""[64, any]: a warp has its own 16 rows."""
LEFT, RIGHT = gl.constexpr(gl.DotOperandLayout(0, ROWS.value, 2)), gl.constexpr(gl.DotOperandLayout(1, ROWS.value, 2))


@gluon.jit
def exp2(x):
    """2^x in one instruction; 0 below 2^-126."""
    return gl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=gl.float32, is_pure=True, pack=1)


@gluon.jit
def sigmoid(x):
    """1 / (1 + e^-x)"""
    return 1.0 / (1.0 + exp2(-x * LOG2E))


@gluon.jit
def log_decay(raw, bias, rate):
    """-rate softplus(raw + bias) with softplus(x) = max(x, 0) + log1p(exp(-|x|)).

    log1p(y) / y on [0, 1] is a polynomial of degree 5 (relative error 9e-6), so that tiny gates keep their digits."""
    x = raw + bias
    y = exp2(-gl.abs(x) * LOG2E)
    p = -0.0238683484 * y + 0.101220265
    p = p * y - 0.210046917
    p = p * y + 0.325206041
    p = p * y - 0.499361277
    p = p * y + 0.999991596
    return -rate * (gl.maximum(x, 0.0) + y * p)


@gluon.jit
def from_lane(x, FAR: gl.constexpr):
    """x [4, 8, 32] of the pair of tokens whose number differs in the bit FAR, 1, 2 or 4."""
    if FAR == 1:
        return gl.inline_asm_elementwise("shfl.sync.bfly.b32 $0, $1, 4, 31, -1;", "=r,r", [x], dtype=gl.float32,
                                         is_pure=True, pack=1)  # fmt: skip
    elif FAR == 2:
        return gl.inline_asm_elementwise("shfl.sync.bfly.b32 $0, $1, 8, 31, -1;", "=r,r", [x], dtype=gl.float32,
                                         is_pure=True, pack=1)  # fmt: skip
    else:
        return gl.inline_asm_elementwise("shfl.sync.bfly.b32 $0, $1, 16, 31, -1;", "=r,r", [x], dtype=gl.float32,
                                         is_pure=True, pack=1)  # fmt: skip


@gluon.jit
def choose(which, a, b):
    """a where `which`, an int16, is -1, b where it is 0: two numbers in float16 at once."""
    return gl.inline_asm_elementwise("lop3.b32 $0, $1, $2, $3, 0xca;", "=r,r,r,r", [which, a, b], dtype=gl.float16,
                                     is_pure=True, pack=2)  # fmt: skip


@gluon.jit
def turn(x, WIDTH: gl.constexpr = 32):
    """[4, 16, WIDTH] as lanes hold it -> [64, WIDTH] in the order of products' operands."""
    return x.reshape([4, 8, 2, WIDTH // 32, 4, 4, 2]).permute(0, 2, 1, 3, 5, 4, 6).reshape([64, WIDTH])


@gluon.jit
def turn_back(x, WIDTH: gl.constexpr = 32):
    """The reverse."""
    return x.reshape([4, 2, 8, WIDTH // 32, 4, 4, 2]).permute(0, 2, 1, 3, 5, 4, 6).reshape([4, 16, WIDTH])


@gluon.jit
def turn_scores(x):
    """[64, 16] scores in products' order -> in that of tokens."""
    return x.reshape([4, 2, 8, 2, 8]).permute(0, 2, 1, 4, 3).reshape([64, 16])


@gluon.jit
def token_of(place):
    """Which of a block's 16 tokens stands in a row or column of a product."""
    return 2 * (place & 7) + ((place >> 3) & 1)


@gluon.jit
def pairs(even, odd, LANES: gl.constexpr):
    """[4, 16, 32] of even and odd tokens' [4, 8, 32]."""
    return gl.convert_layout(gl.join(even, odd).permute(0, 1, 3, 2).reshape([4, 16, 32]), LANES)


@gluon.jit
def meeting(i, j, LEVEL: gl.constexpr):
    """Whether tokens i of a right block of 2^LEVEL meet tokens j of the block left of it."""
    return ((i >> LEVEL) & 1 == 1) & ((i >> LEVEL) == (j >> LEVEL) + 1)


@gluon.jit
def score(a, b, acc):
    """acc + a b^T within blocks; a, b [4, 16, 32] as lanes hold them, acc [4, 16, 16]."""
    left = gl.convert_layout(turn(a).reshape([4, 16, 32]), gl.DotOperandLayout(0, BLOCK, 2))
    right = gl.convert_layout(turn(b).reshape([4, 16, 32]).permute(0, 2, 1), gl.DotOperandLayout(1, BLOCK, 2))
    return mma_v2(left, right, acc)


@gluon.jit
def times(a, turned):
    """a b of blocks [4, 16, 16] in float16, b given transposed."""
    left = gl.convert_layout(a, gl.DotOperandLayout(0, BLOCK, 2))
    right = gl.convert_layout(turned.permute(0, 2, 1), gl.DotOperandLayout(1, BLOCK, 2))
    return mma_v2(left, right, gl.zeros([4, 16, 16], gl.float32, BLOCK))


@gluon.jit
def invert_blocks(down, up, i, j):
    """(I + down)^-1 of blocks [4, 16, 16] strictly below their diagonals, given transposed as `up` too, in float32.

    Of two solved blocks joined by `cross` it is inverse - inverse cross inverse: entries stay below 1, as in no series.
    """
    inverse = gl.where(i == j, 1.0, 0.0) + gl.zeros([4, 16, 16], gl.float32, BLOCK)
    turned = inverse
    for level in gl.static_range(4):
        cross = gl.where(meeting(i, j, level), down, 0.0).to(gl.float16)
        turned_cross = gl.where(meeting(j, i, level), up, 0.0).to(gl.float16)
        if level == 0:
            inverse, turned = inverse - cross.to(gl.float32), turned - turned_cross.to(gl.float32)
        else:
            solved, turned_solved = inverse.to(gl.float16), turned.to(gl.float16)
            inverse = inverse - times(times(solved, turned_cross).to(gl.float16), turned_solved)
            turned = turned - times(times(turned_solved, cross).to(gl.float16), solved)
    return inverse
