"""KDA within a chunk of 64 tokens: gates, norms, decayed scores and the triangular solve, every chunk on its own.

One program a chunk and head. It turns q, k, v, gate and beta into what `kda_pass_triton` needs to carry the state over
the chunk with matrix products alone (letters as in `kda.chunked`, L = tril(beta k k^T decayed, -1)):

    values = (I + L)^-1 beta v              keys = (I + L)^-1 beta k decay
    read = q decay                          write = k (decay from each token to the chunk's end)
    attention = tril(q k^T decayed)         total = decay over the whole chunk

Exponents are sums of gates, as in `kda._decayed_scores`, and never positive. Level s joins neighbouring blocks of s
tokens: a row of the right block meets a key of the left through their boundary. Rows of right blocks need the sum from
the boundary through themselves, rows of left blocks the sum from behind themselves to the boundary: together one tile
of sums, which a 0/1 matrix times the gates gives. So a level is one product for the exponents, and the scores of
queries and keys against one shared operand; a mask keeps the pairs that meet at this level. The inverse of I + L grows
with it: of two solved blocks joined by `cross` it is inverse - inverse cross inverse.

Arithmetic: everything without v is bounded by 1 and multiplied in HALF, float16 (relative 2^-11, absolute 2^-25); what
holds v in WIDE, bfloat16, which has float32's range. Sums are float32. For a float32 model both are float32.
"""

import torch

# mypy: allow-untyped-defs
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 64
LEVELS = CHUNK.bit_length() - 1
LOG2E = tl.constexpr(1.4426950408889634)
UNIT, LOG_UNITS = tl.constexpr(1 / 64), tl.constexpr(4.1588830833596715)
"""Gates are kept as float16 numbers of this many bits, so that even very slow decays keep their digits; ln 64."""
GATE_FLOOR = tl.constexpr(-256.0 * 64)
"""In units. A token's decay below 2^-256 is zero in float32 either way; the bound keeps float16 finite."""


@triton.jit
def log_decay(raw, bias, a_log):
    """-exp(a_log) softplus(raw + bias) in bits (log2), with softplus(x) = max(x, 0) + log1p(exp(-|x|)).

    log1p(y) / y on [0, 1] is a polynomial of degree 7 (relative error 3e-7), so that tiny gates keep their digits."""
    x = raw + bias
    y = tl.exp2(-tl.abs(x) * LOG2E)
    p = -0.00837115255 * y + 0.0434938998
    p = p * y - 0.106850029
    p = p * y + 0.176874767
    p = p * y - 0.244747742
    p = p * y + 0.332719284
    p = p * y - 0.499971745
    p = p * y + 0.999999781
    return -tl.exp2(a_log * LOG2E) * LOG2E * (tl.maximum(x, 0.0) + y * p)


@triton.jit
def dot(a, b, acc=None):
    """acc + a b in float32; float32 operands keep their digits."""
    return tl.dot(a, b, acc, input_precision="tf32x3")


@triton.jit
def meeting(i, level):
    """Whether rows i of a right block and columns i of the block left of it meet at this level: one comparison each."""
    block = i >> level
    right = tl.where((block & 1) == 1, block, -1)
    return right[:, None] == block[None, :] + 1


def sums(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Which gates add up to the exponents, [LEVELS + 2, C, C] of UNIT and 0: of the rows of each level's blocks, from
    the chunk's start through each token, and from behind it to the chunk's end."""
    i = torch.arange(CHUNK)
    row, col = i[:, None], i[None, :]
    levels = [((row >> n) == (col >> n)) & ((col <= row) == ((row >> n) % 2 == 1)) for n in range(LEVELS)]
    return (torch.stack([*levels, col <= row, col > row]).to(dtype) * UNIT.value).to(device)


@triton.jit
def chunk_kernel(
    q_ptr, k_ptr, v_ptr, raw_ptr, beta_ptr, a_log_ptr, bias_ptr, bounds_ptr, sums_ptr,
    values_ptr, keys_ptr, near_ptr, read_ptr, write_ptr, attention_ptr, total_ptr,
    q_stride, k_stride, v_stride, raw_stride, beta_stride, scale, H,
    K: tl.constexpr, V: tl.constexpr, C: tl.constexpr, LEVELS: tl.constexpr, PART: tl.constexpr,
    HALF: tl.constexpr, WIDE: tl.constexpr,
):
    """Everything about one chunk and head that does not need the state. q, k, raw [tokens, H, K], v [tokens, H, V],
    beta [tokens, H] before its sigmoid (a stride is from token to token), bounds [N, 2], sums as `sums` gives them;
    results [N, H, C, .]. `near` is the memory of `keys`, for numbers in HALF that wait there for the inverse."""
    n, h = tl.program_id(0), tl.program_id(1)
    first, end = tl.load(bounds_ptr + 2 * n), tl.load(bounds_ptr + 2 * n + 1)
    i, part = tl.arange(0, C), tl.arange(0, PART)
    token = (first + i).to(tl.int64)
    inside = (first + i < end)[:, None]
    row, col = i[:, None], i[None, :]
    tile = (n * H + h).to(tl.int64) * C
    q_row, k_row = q_ptr + token[:, None] * q_stride + h * K, k_ptr + token[:, None] * k_stride + h * K
    raw_row = raw_ptr + token[:, None] * raw_stride + h * K

    q_square, k_square = tl.full((C,), 1e-6, tl.float32), tl.full((C,), 1e-6, tl.float32)
    for start in tl.static_range(0, K, PART):
        q_part = tl.load(q_row + start + part[None, :], mask=inside, other=0.0).to(tl.float32)
        k_part = tl.load(k_row + start + part[None, :], mask=inside, other=0.0).to(tl.float32)
        q_square += tl.sum(q_part * q_part, 1)
        k_square += tl.sum(k_part * k_part, 1)
    q_unit, k_unit = tl.rsqrt(q_square)[:, None] * scale, tl.rsqrt(k_square)[:, None]
    a_log = tl.load(a_log_ptr + h) + LOG_UNITS
    sums_ptr += row * C + col

    # Scores of a part are rounded to HALF as they are added, so that they take half the registers.
    attention = tl.zeros((C, C), HALF)
    lower = tl.zeros((C, C), HALF)
    for start in range(0, K, PART):
        key = start + part
        raw = tl.load(raw_row + key[None, :], mask=inside, other=0.0).to(tl.float32)
        gate = log_decay(raw, tl.load(bias_ptr + h * K + key)[None, :], a_log)
        gate = tl.where(inside, tl.maximum(gate, GATE_FLOOR), 0.0)
        high = gate.to(HALF)
        low = (gate - high.to(tl.float32)).to(HALF)
        q = (tl.load(q_row + key[None, :], mask=inside, other=0.0).to(tl.float32) * q_unit).to(HALF)
        k = (tl.load(k_row + key[None, :], mask=inside, other=0.0).to(tl.float32) * k_unit).to(HALF)
        through = tl.load(sums_ptr + LEVELS * C * C)
        begun = tl.exp2(dot(through, low, dot(through, high)))
        at_key = (tile + row) * K + key[None, :]
        tl.store(read_ptr + at_key, (q.to(tl.float32) * begun).to(WIDE))
        tl.store(near_ptr + at_key, k * begun.to(HALF))
        after = tl.load(sums_ptr + (LEVELS + 1) * C * C)
        ended = tl.exp2(dot(after, low, dot(after, high)))
        tl.store(write_ptr + at_key, (k.to(tl.float32) * ended).to(WIDE))
        tl.store(total_ptr + (n * H + h) * K + key, tl.exp2(tl.sum(gate, 0) * UNIT))
        attention += tl.where(row == col, tl.sum(q.to(tl.float32) * k.to(tl.float32), 1)[:, None], 0.0).to(HALF)
        # Not unrolled: six levels side by side are more code than a multiprocessor's instruction cache holds.
        for level in range(LEVELS):
            decay = tl.exp2(dot(tl.load(sums_ptr + level * C * C), high)).to(HALF)
            near = k * decay
            meets = meeting(i, level)
            attention += tl.where(meets, dot(q * decay, tl.trans(near)), 0.0).to(HALF)
            lower += tl.where(meets, dot(near, tl.trans(near)), 0.0).to(HALF)
    tl.store(attention_ptr + (tile + row) * C + col, attention.to(tl.float32).to(WIDE))

    beta = tl.load(beta_ptr + token * beta_stride + h, mask=first + i < end, other=0.0).to(tl.float32)
    beta = tl.where(first + i < end, tl.sigmoid(beta), 0.0)
    lower = (lower.to(tl.float32) * beta[:, None]).to(HALF)
    inverse = tl.where(row == col, 1.0, 0.0)
    for level in range(LEVELS):
        solved = inverse.to(HALF)
        inverse -= dot(solved, dot(tl.where(meeting(i, level), lower, 0.0).to(HALF), solved).to(HALF))
    inverse *= beta[None, :]

    tl.debug_barrier()  # `near` was written by other threads than read it
    half = inverse.to(HALF)
    for start in range(0, K, PART):
        at_key = (tile + row) * K + start + part[None, :]
        tl.store(keys_ptr + at_key, dot(half, tl.load(near_ptr + at_key)).to(WIDE))
    wide = inverse.to(WIDE)
    for start in range(0, V, PART):
        value = start + part[None, :]
        v = tl.load(v_ptr + token[:, None] * v_stride + h * V + value, mask=inside, other=0.0).to(WIDE)
        tl.store(values_ptr + (tile + row) * V + value, dot(wide, v).to(WIDE))
