"""`kda_chunk_triton` for Hopper with every layout named (Gluon): half its instructions, and 10 barriers for some 60.

What it computes is the same, on three other ways. A warp owns 16 tokens and builds their scores by levels in its own
registers (`kda_lanes_gluon_triton`); at each level the decays of two halves are multiplied by one another, numbers in
[0, 1], instead of adding gates, and of a pair of tokens all but the first step is shared. Blocks of 16 meet through
their boundary: rows decayed from it, keys decayed to it, and rows take on the decay over a block as they pass it on
their way to an earlier one. And the inverse goes by rows of blocks, X (I + L) = I from the diagonal to the left, so
that a warp needs of the others only what they had at the start. The decay over whole blocks is the exponential of
summed gates: it is multiplied over the whole document, so slow decays must keep all digits.

Not interpreted: Triton's interpreter does not know Gluon. Tests run its lines on PyTorch tensors.
"""
# mypy: disallow-untyped-defs=False

from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2

from kernels.kda_lanes_gluon_triton import (
    ACROSS,
    BLOCK,
    LEFT,
    LOG2E,
    RIGHT,
    ROWS,
    WARPS,
    choose,
    exp2,
    from_lane,
    invert_blocks,
    log_decay,
    meeting,
    pairs,
    score,
    sigmoid,
    token_of,
    turn,
    turn_back,
    turn_scores,
)

OPTIONS = {"num_warps": 4, "maxnreg": 168}
"""Registers for three chunks on a multiprocessor."""


def fill(chunks: list[Tensor], inputs: list[Tensor], a_log: Tensor, dt_bias: Tensor, bounds: Tensor) -> None:
    """What `kda_prefill_triton` hands from chunks to the pass, of inputs q, k, v, raw, beta [tokens, H, .] whose rows
    are whole, for heads of 64 and 128."""
    heads, keys, values = chunks[1].shape[1], chunks[1].shape[3], chunks[0].shape[3]
    chunk_kernel[(len(bounds), heads)](
        *inputs, a_log, dt_bias, bounds, *chunks, *(x.stride(0) for x in inputs), keys**-0.5, heads,
        K=keys, V=values, **OPTIONS,
    )  # fmt: skip


@gluon.jit
def chunk_kernel(
    q_ptr, k_ptr, v_ptr, raw_ptr, beta_ptr, a_log_ptr, bias_ptr, bounds_ptr,
    values_ptr, keys_ptr, read_ptr, write_ptr, attention_ptr, total_ptr,
    q_stride, k_stride, v_stride, raw_stride, beta_stride, scale, H,
    K: gl.constexpr, V: gl.constexpr,
):  # fmt: skip
    """One chunk and head; arguments and results as of `kda_chunk_triton.chunk_kernel`. Rows behind the chunk's end hold
    anything in read and attention: no one reads them. Key, beta and gate are 0 there."""
    LANES: gl.constexpr = gl.DistributedLinearLayout(
        [[0, 0, 1], [0, 0, 2], [0, 0, 4], [0, 1, 0]], ACROSS, WARPS, [], [4, 16, 32])  # fmt: skip
    WIDE: gl.constexpr = gl.DistributedLinearLayout(
        [[0, 0, 1], [0, 0, 2], [0, 0, 4], [0, 1, 0], [0, 0, 32], [0, 0, 64]][: 5 if V == 64 else 6], ACROSS, WARPS,
        [], [4, 16, V])  # fmt: skip
    PAIRS: gl.constexpr = gl.DistributedLinearLayout(
        [[0, 0, 1], [0, 0, 2], [0, 0, 4]], [[0, 0, 8], [0, 0, 16], [0, 1, 0], [0, 2, 0], [0, 4, 0]], WARPS,
        [], [4, 8, 32])  # fmt: skip
    BLOCKS: gl.constexpr = gl.SliceLayout(1, LANES)  # [4, 32]: 8 channels a lane
    LINE: gl.constexpr = gl.DistributedLinearLayout(  # [4, 32]: a channel a lane
        [], [[0, 1], [0, 2], [0, 4], [0, 8], [0, 16]], [[1, 0], [2, 0]], [], [4, 32])  # fmt: skip
    SQUARE: gl.constexpr = gl.DistributedLinearLayout(
        [[0, 1], [0, 2], [1, 0]], [[0, 4], [0, 8], [2, 0], [4, 0], [8, 0]], [[16, 0], [32, 0]], [],
        [64, 16])  # fmt: skip
    TILE: gl.constexpr = gl.SwizzledSharedLayout(8, 2, 4, [1, 0])
    FLAT: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [1, 0])
    VECTOR: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [0])
    near_tiles = gl.allocate_shared_memory(gl.float16, [K // 32, 64, 32], TILE)
    value_tile = gl.allocate_shared_memory(gl.bfloat16, [64, V], gl.SwizzledSharedLayout(8, 1, 8, [1, 0]))
    left_tile = gl.allocate_shared_memory(gl.float16, [64, 32], TILE)
    beta_tile = gl.allocate_shared_memory(gl.float32, [64], VECTOR)
    gate_sums = gl.allocate_shared_memory(gl.float32, [4, 32], FLAT)
    from_starts = gl.allocate_shared_memory(gl.float32, [4, 32], FLAT)
    to_ends = gl.allocate_shared_memory(gl.float32, [4, 32], FLAT)
    over_2 = gl.allocate_shared_memory(gl.float32, [4, 32], FLAT)
    over_1 = gl.allocate_shared_memory(gl.float32, [4, 32], FLAT)

    n, h = gl.program_id(0), gl.program_id(1)
    first, end = gl.load(bounds_ptr + 2 * n), gl.load(bounds_ptr + 2 * n + 1)
    block = gl.arange(0, 4, gl.SliceLayout(1, gl.SliceLayout(2, LANES)))[:, None, None]
    i = gl.arange(0, 16, gl.SliceLayout(0, gl.SliceLayout(2, LANES)))[None, :, None]
    channel = gl.arange(0, 32, gl.SliceLayout(0, gl.SliceLayout(1, LANES)))[None, None, :]
    row = block * 16 + i
    token = gl.minimum(row, end - 1 - first)  # rows behind the end repeat the last one
    inside = first + row < end
    at, tile = first.to(gl.int64), (n * H + h).to(gl.int64) * 64
    q_row = q_ptr + (at * q_stride + h * K) + (token * q_stride + channel)
    k_row = k_ptr + (at * k_stride + h * K) + (token * k_stride + channel)
    v_row = (gl.arange(0, 4, gl.SliceLayout(1, gl.SliceLayout(2, WIDE)))[:, None, None] * 16
             + gl.arange(0, 16, gl.SliceLayout(0, gl.SliceLayout(2, WIDE)))[None, :, None])  # fmt: skip
    column = gl.arange(0, V, gl.SliceLayout(0, gl.SliceLayout(1, WIDE)))[None, None, :]
    v_at = v_ptr + (at * v_stride + h * V) + (gl.minimum(v_row, end - 1 - first) * v_stride + column)
    raw_row = raw_ptr + (at * raw_stride + h * K) + (token * raw_stride + channel)

    # Everything is asked for before anything is used; of the gates, always the next part's.
    v, raw_next, bias_next = gl.load(v_at), gl.load(raw_row), gl.load(bias_ptr + h * K + channel)
    q_sum, k_sum = gl.zeros([4, 16, 32], gl.float32, LANES), gl.zeros([4, 16, 32], gl.float32, LANES)
    for piece in gl.static_range(0, K, 32):
        q_part, k_part = gl.load(q_row + piece).to(gl.float32), gl.load(k_row + piece).to(gl.float32)
        q_sum += q_part * q_part
        k_sum += k_part * k_part
    tiny = gl.full([4, 16], 1e-6, gl.float32, gl.SliceLayout(2, LANES))
    q_unit = gl.rsqrt(tiny + gl.sum(q_sum, 2))[:, :, None] * scale
    k_unit = gl.where(inside, gl.rsqrt(tiny + gl.sum(k_sum, 2))[:, :, None], 0.0)
    rate = gl.where(inside, exp2(gl.load(a_log_ptr + h) * LOG2E) * LOG2E, 0.0)
    value_tile.store(turn(v.to(gl.bfloat16), V))
    pair = gl.arange(0, 8, gl.SliceLayout(0, gl.SliceLayout(2, PAIRS)))[None, :, None]
    place = gl.arange(0, 64, gl.BlockedLayout([1], [32], [4], [0]))
    place = (place & 48) + token_of(place)
    beta = gl.load(beta_ptr + (at * beta_stride + h) + gl.minimum(place, end - 1 - first) * beta_stride)
    beta_tile.store(gl.where(first + place < end, sigmoid(beta.to(gl.float32)), 0.0))
    own = gl.arange(0, 4, gl.SliceLayout(1, LINE))[:, None]
    line = gl.arange(0, 32, gl.SliceLayout(0, LINE))[None, :]
    ti = token_of(gl.arange(0, 16, gl.SliceLayout(0, gl.SliceLayout(2, BLOCK))))[None, :, None]
    tj = token_of(gl.arange(0, 16, gl.SliceLayout(0, gl.SliceLayout(1, BLOCK))))[None, None, :]
    # Scores within blocks, `lower` symmetric; then of all rows with the keys of block 0, 1 and 2.
    scores, lower = gl.zeros([4, 16, 16], gl.float32, BLOCK), gl.zeros([4, 16, 16], gl.float32, BLOCK)
    none = gl.zeros([64, 16], gl.float32, ROWS)
    scores_0, scores_1, scores_2, lower_0, lower_1, lower_2 = none, none, none, none, none, none
    q_next, k_next = gl.load(q_row), gl.load(k_row)
    for part in range(K // 32):
        start = part * 32
        raw, bias = raw_next.to(gl.float32), bias_next
        q = (q_next.to(gl.float32) * q_unit).to(gl.float16)
        k = (k_next.to(gl.float32) * k_unit).to(gl.float16)
        later = gl.minimum(start + 32, K - 32)
        q_next, k_next, raw_next = gl.load(q_row + later), gl.load(k_row + later), gl.load(raw_row + later)
        bias_next = gl.load(bias_ptr + h * K + later + channel)
        gate = log_decay(raw, bias, rate)
        gate_sums.store(gl.sum(gate, 1))
        scores = gl.where(ti == tj, score(q, k, scores), scores)
        even, odd = exp2(gate).reshape([4, 8, 2, 32]).permute(0, 1, 3, 2).split()
        even, odd = gl.convert_layout(even, PAIRS), gl.convert_layout(odd, PAIRS)
        one = gl.full([4, 8, 32], 1.0, gl.float16, PAIRS)
        whole = even * odd  # decay over a pair, then over larger blocks
        even, odd, both = even.to(gl.float16), odd.to(gl.float16), whole.to(gl.float16)
        through, after = pairs(even, both, LANES), pairs(odd, one, LANES)
        # Of a pair: the decay between it and its block's boundary at this level, and between it and the other end.
        near, far = whole, gl.full([4, 8, 32], 1.0, gl.float32, PAIRS)
        for level in gl.static_range(4):
            if level == 0:
                decay = pairs(one, odd, LANES)
            else:
                decay = choose((-((i >> level) & 1)).to(gl.int16), through, after)
                if level > 1:
                    half = near.to(gl.float16)
                    decay = decay * pairs(half, half, LANES)
            at_k = k * decay
            with_q, with_k = score(q * decay, at_k, scores), score(at_k, at_k, lower)
            scores = gl.where(meeting(ti, tj, level), with_q, scores)
            lower = gl.where(meeting(ti, tj, level) | meeting(tj, ti, level), with_k, lower)
            if level > 0:
                other = from_lane(whole, 1 << (level - 1))
                near = other if level == 1 else near * other
                if level < 3:
                    whole = whole * other
                    swap = ((pair >> (level - 1)) & 1) != ((pair >> level) & 1)
                    near, far = gl.where(swap, far, near), gl.where(swap, near, far)
        begun = gl.where(pair >= 4, near, far).to(gl.float16)
        ended = gl.where(pair >= 4, far, near).to(gl.float16)
        begun, ended = through * pairs(begun, begun, LANES), after * pairs(ended, ended, LANES)
        q_begun, k_begun, k_ended = q * begun, k * begun, k * ended
        left_tile.store(turn(k_ended))

        # The other warps' blocks. A lane makes the factors of one channel, then reads those of its eight.
        sum_0, sum_1 = gate_sums.slice(0, 1).load(LINE), gate_sums.slice(1, 1).load(LINE)
        sum_2, sum_3 = gate_sums.slice(2, 1).load(LINE), gate_sums.slice(3, 1).load(LINE)
        left_2 = left_tile.slice(32, 16).permute((1, 0)).load(RIGHT)
        left_1 = left_tile.slice(16, 16).permute((1, 0)).load(RIGHT)
        left_0 = left_tile.slice(0, 16).permute((1, 0)).load(RIGHT)
        before = gl.where(own > 0, sum_0, 0.0) + gl.where(own > 1, sum_1, 0.0) + gl.where(own > 2, sum_2, 0.0)
        behind = gl.where(own < 1, sum_1, 0.0) + gl.where(own < 2, sum_2, 0.0) + gl.where(own < 3, sum_3, 0.0)
        from_starts.store(exp2(before))
        to_ends.store(exp2(behind))
        over_2.store(gl.where(own > 2, exp2(sum_2), 1.0))
        over_1.store(gl.where(own > 1, exp2(sum_1), 1.0))
        gl.store(total_ptr + (n * H + h) * K + start + line + own * 0, exp2(sum_0 + sum_1 + sum_2 + sum_3),
                 mask=own == 0)  # fmt: skip
        q_left, k_left = gl.convert_layout(turn(q_begun), LEFT), gl.convert_layout(turn(k_begun), LEFT)
        scores_2, lower_2 = mma_v2(q_left, left_2, scores_2), mma_v2(k_left, left_2, lower_2)

        from_start = from_starts.load(BLOCKS).to(gl.float16).expand_dims(1)
        to_end = to_ends.load(BLOCKS).to(gl.float16).expand_dims(1)
        at_key = row * K + start + channel
        gl.store(read_ptr + tile * K + at_key, (q_begun * from_start).to(gl.float32).to(gl.bfloat16))
        gl.store(write_ptr + tile * K + at_key, (k_ended * to_end).to(gl.float32).to(gl.bfloat16))
        near_tiles.index(part).store(turn(k_begun * from_start))
        over = over_2.load(BLOCKS).to(gl.float16).expand_dims(1)
        q_begun, k_begun = q_begun * over, k_begun * over
        q_left, k_left = gl.convert_layout(turn(q_begun), LEFT), gl.convert_layout(turn(k_begun), LEFT)
        scores_1, lower_1 = mma_v2(q_left, left_1, scores_1), mma_v2(k_left, left_1, lower_1)
        over = over_1.load(BLOCKS).to(gl.float16).expand_dims(1)
        q_left, k_left = gl.convert_layout(turn(q_begun * over), LEFT), gl.convert_layout(turn(k_begun * over), LEFT)
        scores_0, lower_0 = mma_v2(q_left, left_0, scores_0), mma_v2(k_left, left_0, lower_0)

    block = (gl.arange(0, 64, gl.SliceLayout(1, ROWS)) >> 4)[:, None]
    place = gl.arange(0, 64, gl.SliceLayout(1, SQUARE))
    at_score = attention_ptr + (tile + place)[:, None] * 64 + gl.arange(0, 16, gl.SliceLayout(0, SQUARE))[None, :]
    inner = gl.convert_layout(scores.reshape([64, 16]), ROWS)
    column_0 = gl.where(block > 0, scores_0, inner)
    column_1 = gl.where(block > 1, scores_1, gl.where(block == 1, inner, 0.0))
    column_2 = gl.where(block > 2, scores_2, gl.where(block == 2, inner, 0.0))
    column_3 = gl.where(block == 3, inner, 0.0)
    gl.store(at_score, gl.convert_layout(turn_scores(column_0.to(gl.bfloat16)), SQUARE))
    gl.store(at_score + 16, gl.convert_layout(turn_scores(column_1.to(gl.bfloat16)), SQUARE))
    gl.store(at_score + 32, gl.convert_layout(turn_scores(column_2.to(gl.bfloat16)), SQUARE))
    gl.store(at_score + 48, gl.convert_layout(turn_scores(column_3.to(gl.bfloat16)), SQUARE))

    beta_row = beta_tile.load(gl.SliceLayout(1, ROWS))[:, None]
    inverse_tile = gl.allocate_shared_memory(gl.float16, [64, 16], FLAT)
    lower_tile_0 = gl.allocate_shared_memory(gl.float16, [64, 16], FLAT)
    lower_tile_1 = gl.allocate_shared_memory(gl.float16, [64, 16], FLAT)
    lower_tile_2 = gl.allocate_shared_memory(gl.float16, [64, 16], FLAT)
    lower_tile_0.store((lower_0 * beta_row).to(gl.float16))
    lower_tile_1.store((lower_1 * beta_row).to(gl.float16))
    lower_tile_2.store((lower_2 * beta_row).to(gl.float16))
    beta_row = beta_tile.reshape([4, 16]).load(gl.SliceLayout(2, BLOCK))[:, :, None]
    beta_column = beta_tile.reshape([4, 16]).load(gl.SliceLayout(1, BLOCK))[:, None, :]
    down, up = (lower * beta_row).to(gl.float16), (lower * beta_column).to(gl.float16)
    inverse = gl.convert_layout(invert_blocks(down, up, ti, tj).reshape([64, 16]), ROWS)
    inverse_tile.store(inverse.to(gl.float16))

    # X's columns of block 3, 2, 1, 0.
    x_3 = gl.where(block == 3, inverse, 0.0)
    left_3 = gl.convert_layout(x_3.to(gl.float16), LEFT)
    w = mma_v2(left_3, lower_tile_2.slice(48, 16).load(RIGHT), none)
    w = gl.convert_layout(w.to(gl.float16), LEFT)
    x_2 = gl.where(block == 2, inverse, 0.0) - mma_v2(w, inverse_tile.slice(32, 16).load(RIGHT), none)
    left_2 = gl.convert_layout(x_2.to(gl.float16), LEFT)
    w = mma_v2(left_3, lower_tile_1.slice(48, 16).load(RIGHT), none)
    w = mma_v2(left_2, lower_tile_1.slice(32, 16).load(RIGHT), w)
    w = gl.convert_layout(w.to(gl.float16), LEFT)
    x_1 = gl.where(block == 1, inverse, 0.0) - mma_v2(w, inverse_tile.slice(16, 16).load(RIGHT), none)
    left_1 = gl.convert_layout(x_1.to(gl.float16), LEFT)
    w = mma_v2(left_3, lower_tile_0.slice(48, 16).load(RIGHT), none)
    w = mma_v2(left_2, lower_tile_0.slice(32, 16).load(RIGHT), w)
    w = mma_v2(left_1, lower_tile_0.slice(16, 16).load(RIGHT), w)
    w = gl.convert_layout(w.to(gl.float16), LEFT)
    x_0 = gl.where(block == 0, inverse, 0.0) - mma_v2(w, inverse_tile.slice(0, 16).load(RIGHT), none)

    x_0 = x_0 * beta_tile.slice(0, 16).load(gl.SliceLayout(0, ROWS))[None, :]
    x_1 = x_1 * beta_tile.slice(16, 16).load(gl.SliceLayout(0, ROWS))[None, :]
    x_2 = x_2 * beta_tile.slice(32, 16).load(gl.SliceLayout(0, ROWS))[None, :]
    x_3 = x_3 * beta_tile.slice(48, 16).load(gl.SliceLayout(0, ROWS))[None, :]
    left_0, left_1 = gl.convert_layout(x_0.to(gl.float16), LEFT), gl.convert_layout(x_1.to(gl.float16), LEFT)
    left_2, left_3 = gl.convert_layout(x_2.to(gl.float16), LEFT), gl.convert_layout(x_3.to(gl.float16), LEFT)
    for part in range(K // 32):
        made = _apply(left_0, left_1, left_2, left_3, near_tiles.index(part), 32)
        gl.store(keys_ptr + tile * K + (row * K + part * 32 + channel), gl.convert_layout(made, LANES))
    left_0, left_1 = gl.convert_layout(x_0.to(gl.bfloat16), LEFT), gl.convert_layout(x_1.to(gl.bfloat16), LEFT)
    left_2, left_3 = gl.convert_layout(x_2.to(gl.bfloat16), LEFT), gl.convert_layout(x_3.to(gl.bfloat16), LEFT)
    made = _apply(left_0, left_1, left_2, left_3, value_tile, V)
    gl.store(values_ptr + tile * V + (v_row * V + column), gl.convert_layout(made, WIDE))


@gluon.jit
def _apply(left_0, left_1, left_2, left_3, tile, WIDTH: gl.constexpr):
    """The inverse, in four blocks of columns, times a tile [64, WIDTH]."""
    made = gl.zeros([64, WIDTH], gl.float32, ROWS)
    made = mma_v2(left_0, tile.slice(0, 16).load(RIGHT), made)
    made = mma_v2(left_1, tile.slice(16, 16).load(RIGHT), made)
    made = mma_v2(left_2, tile.slice(32, 16).load(RIGHT), made)
    made = mma_v2(left_3, tile.slice(48, 16).load(RIGHT), made)
    return turn_back(made.to(gl.bfloat16), WIDTH)
