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

# mypy: allow-untyped-defs
import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
UNIT = tl.constexpr(1 / 64)
"""Gates are kept as float16 numbers of this many bits, so that even very slow decays keep their digits."""
GATE_FLOOR = tl.constexpr(-256.0)
"""A token's decay below 2^-256 is zero in float32 either way; the bound keeps float16 finite."""


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
def unit_rows(x, eps: tl.constexpr):
    """x / sqrt(sum(x^2) + eps) over the last dimension."""
    return x * tl.rsqrt(tl.sum(x * x, 1) + eps)[:, None]


@triton.jit
def dot(a, b, acc=None):
    """acc + a b in float32; float32 operands keep their digits."""
    return tl.dot(a, b, acc, input_precision="tf32x3")


@triton.jit
def chunk_kernel(
    q_ptr, k_ptr, v_ptr, raw_ptr, beta_ptr, a_log_ptr, bias_ptr, bounds_ptr,
    values_ptr, keys_ptr, read_ptr, write_ptr, attention_ptr, total_ptr,
    q_stride, k_stride, v_stride, raw_stride, beta_stride, scale, H,
    K: tl.constexpr, V: tl.constexpr, C: tl.constexpr, LEVELS: tl.constexpr,
    HALF: tl.constexpr, WIDE: tl.constexpr,
):
    """Everything about one chunk and head that does not need the state. q, k, raw [tokens, H, K], v [tokens, H, V],
    beta [tokens, H] before its sigmoid (a stride is from token to token), bounds [N, 2]; results [N, H, C, .]."""
    n, h = tl.program_id(0), tl.program_id(1)
    first, end = tl.load(bounds_ptr + 2 * n), tl.load(bounds_ptr + 2 * n + 1)
    i, key, value = tl.arange(0, C), tl.arange(0, K), tl.arange(0, V)
    token = (first + i).to(tl.int64)
    inside = (first + i < end)[:, None]
    row, col = i[:, None], i[None, :]

    raw = tl.load(raw_ptr + token[:, None] * raw_stride + h * K + key[None, :], mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + h * K + key)
    gate = tl.maximum(log_decay(raw, bias[None, :], tl.load(a_log_ptr + h)), GATE_FLOOR)
    gate = tl.where(inside, gate, 0.0)
    high = (gate / UNIT).to(HALF)
    low = (gate / UNIT - high.to(tl.float32)).to(HALF)

    q = tl.load(q_ptr + token[:, None] * q_stride + h * K + key[None, :], mask=inside, other=0.0).to(tl.float32)
    k = tl.load(k_ptr + token[:, None] * k_stride + h * K + key[None, :], mask=inside, other=0.0).to(tl.float32)
    q, k = unit_rows(q, 1e-6).to(HALF), unit_rows(k, 1e-6).to(HALF)
    beta = tl.load(beta_ptr + token * beta_stride + h, mask=first + i < end, other=0.0).to(tl.float32)
    beta = tl.where(first + i < end, tl.sigmoid(beta), 0.0)

    attention = tl.where(row == col, tl.sum(q.to(tl.float32) * k.to(tl.float32), 1)[:, None], 0.0)
    inverse = tl.where(row == col, 1.0, 0.0)
    for level in tl.static_range(LEVELS):
        right = ((row >> level) & 1) == 1
        if level == 0:
            decay = tl.where(right, tl.exp2(gate), 1.0).to(HALF)
        else:
            summed = ((row >> level) == (col >> level)) & ((col <= row) == right)
            decay = tl.exp2(dot(tl.where(summed, UNIT, 0.0).to(HALF), high)).to(HALF)
        near = k * decay
        meets = right & ((row >> level) == (col >> level) + 1)
        attention = tl.where(meets, dot(q * decay, tl.trans(near)), attention)
        cross = tl.where(meets, dot(near, tl.trans(near)), 0.0) * beta[:, None]
        if level == 0:
            inverse -= cross
        else:
            solved = inverse.to(HALF)
            inverse -= dot(solved, dot(cross.to(HALF), solved).to(HALF))

    tile = (n * H + h).to(tl.int64) * C
    square = (tile + row) * C + col
    tl.store(attention_ptr + square, (attention * scale).to(WIDE))

    through = tl.where(col <= row, UNIT, 0.0).to(HALF)
    decay = tl.exp2(dot(through, low, dot(through, high)))
    at_key = (tile + row) * K + key[None, :]
    tl.store(read_ptr + at_key, (q.to(tl.float32) * decay * scale).to(WIDE))
    inverse *= beta[None, :]
    near = k * decay.to(HALF)
    tl.store(keys_ptr + at_key, dot(inverse.to(HALF), near).to(WIDE))
    after = tl.where(col > row, UNIT, 0.0).to(HALF)
    decay = tl.exp2(dot(after, low, dot(after, high)))
    tl.store(write_ptr + at_key, (k.to(tl.float32) * decay).to(WIDE))
    tl.store(total_ptr + (n * H + h) * K + key, tl.exp2(tl.sum(gate, 0)))

    at_value = token[:, None] * v_stride + h * V + value[None, :]
    v = tl.load(v_ptr + at_value, mask=inside, other=0.0).to(WIDE)
    at_value = (tile + row) * V + value[None, :]
    tl.store(values_ptr + at_value, dot(inverse.to(WIDE), v).to(WIDE))
