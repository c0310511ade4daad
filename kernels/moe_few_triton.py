"""`moe.mixture` on a GPU for one to 64 tokens: the chosen experts stream by once, at the speed of memory (Triton).

Time goes into bytes of weights: at one token 9 experts' 127 MB in bf16 at the 48B shape. So a program multiplies a
slice of one expert's rows with the tokens that chose it, eight at a time; the tensor cores have time to spare.
A plan has a slot for each distinct expert, by number, with the pairs of its tokens; one that more than eight chose has
several, which stand side by side and read the expert through the cache. The first product writes a pair's activation,
the second its result in float32; a token's results are then added up in the order in which its experts were chosen, so
sums have one order. The shared expert, in pieces as wide as a routed one, ends the plan. A program is one warp with
several steps of rows under way: many fit on a multiprocessor, and none waits for another.

int4 and fp8 weights become bfloat16 in registers; tokens are not quantised here.
"""
# mypy: disallow-untyped-defs=False

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels import quant
from kernels import unpack_triton as unpack
from kernels.kda_chunk_triton import dot
from kernels.launch_triton import ask, begin, let_next, overlap, wait
from kernels.quant import Fp8, Int4, Weights

TOKENS = 64
"""Tokens that go this way: a plan is made by one program."""

COLUMNS = 8
"""Tokens of a slot: the width of the tensor cores' right operand."""

BLOCK, DOWN_BLOCK, STEP = 16, 16, {"": 128, "fp8": 128, "int4": 64}
"""Rows of weights a program of `_up` (as many gates as ups) and of `_down`, and bytes or numbers of a row a step."""

CHUNK = 32
"""Pairs that the plan compares all pairs with at once."""

TILES = {"num_warps": 1, "num_stages": 4}
"""A step is 8 KiB in bfloat16. One token: 576 programs of `_up`, 1,296 of `_down`, several on a multiprocessor."""


def mixture(
    x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Weights, down: Weights, shared: tuple[Weights, Weights]
) -> Tensor:
    """`moe.mixture` for at most 64 tokens. Raises as `results` does."""
    return add_up(results(x, weights, chosen, gate_up, down, shared), chosen.shape[1], x.dtype)


def results(
    x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Weights, down: Weights, shared: tuple[Weights, Weights]
) -> Tensor:
    """What `mixture` adds up, float32 [T (top_k+1), D]: a row for each pair, then the shared expert's for each token.

    Raises ValueError for more than 64 tokens, or for a shared expert of no whole pieces.
    """
    tokens, width = x.shape
    top_k = chosen.shape[1]
    experts, _, inner = quant.shape(down)
    pieces = quant.shape(shared[1])[1] // inner
    if tokens > TOKENS or pieces * inner != quant.shape(shared[1])[1]:
        raise ValueError(f"{tokens} tokens and a shared expert {pieces} experts wide do not go this way")
    x = x.contiguous()
    slots = most_slots(tokens, top_k, experts)
    together = overlap(x.device)
    listed, filled, pairs = chosen, chosen, chosen  # of one token they are the plan themselves
    if tokens > 1:
        listed, filled = (torch.empty(slots + 1, dtype=torch.int32, device=x.device) for _ in range(2))
        pairs = torch.empty(slots, COLUMNS, dtype=torch.int32, device=x.device)
        _plan[(1,)](
            chosen, listed, filled, pairs, tokens * top_k, slots, COLUMNS=COLUMNS, BLOCKS=triton.cdiv(tokens, COLUMNS),
            BLOCK_P=max(32, triton.next_power_of_2(tokens * top_k)), BLOCK_E=max(32, triton.next_power_of_2(experts)),
            CHUNK=CHUNK, num_warps=4 if tokens <= 8 else 8 if tokens <= 32 else 16, **together,
        )  # fmt: skip
    # A row for each pair, then for each token one as wide as the shared expert.
    act = torch.empty(tokens * (top_k + pieces), inner, dtype=x.dtype, device=x.device)
    out = torch.empty(tokens * (top_k + 1), width, dtype=torch.float32, device=x.device)
    facts = (listed, filled, pairs, tokens, slots, width, inner, tokens * top_k)
    blocks = triton.cdiv(tokens, COLUMNS)
    form = "fp8" if isinstance(gate_up, Fp8) else "int4" if isinstance(gate_up, Int4) else ""
    bits = {"BITS": x.is_cuda and x.dtype == torch.bfloat16}
    _up[(slots + blocks * pieces, triton.cdiv(inner, BLOCK))](
        x, *_parts(gate_up), *_parts(shared[0]), act, weights, *facts,
        TOP_K=top_k, PIECES=pieces, PLANNED=tokens > 1, FORM=form, BLOCK_T=COLUMNS, BLOCK=BLOCK, BLOCK_K=STEP[form],
        EVEN=width % STEP[form] == 0, ASK=can_be_asked_for(shared[0]), **bits, **TILES, **together,
    )  # fmt: skip
    _down[(slots + blocks, triton.cdiv(width, DOWN_BLOCK))](
        act, *_parts(down), *_parts(shared[1]), out, *facts,
        PIECES=pieces, PLANNED=tokens > 1, FORM=form, BLOCK_T=COLUMNS, BLOCK=DOWN_BLOCK, BLOCK_K=STEP[form],
        EVEN=inner % STEP[form] == 0, **bits, **TILES, **together,
    )  # fmt: skip
    return out


def add_up(results: Tensor, top_k: int, dtype: torch.dtype) -> Tensor:
    """Each token's `results`, in the order in which its experts were chosen: [T, D]."""
    rows, width = results.shape
    tokens = rows // (top_k + 1)
    out = torch.empty(tokens, width, dtype=dtype, device=results.device)
    _add_up[(tokens, triton.cdiv(width, 256))](
        results, out, width, tokens * top_k, TOP_K=top_k, BLOCK=256, **overlap(results.device)
    )
    return out


def most_slots(tokens: int, top_k: int, experts: int) -> int:
    """How many slots a plan can have: each expert's first, and one for every further eight of its tokens."""
    pairs = tokens * top_k
    used = min(experts, pairs)
    return min(used * triton.cdiv(tokens, COLUMNS), used + (pairs - used) // COLUMNS)


def can_be_asked_for(weight: Weights) -> bool:
    """Whether rows of these values begin and end at multiples of 16 bytes, as the GPU's way into its cache has it."""
    values = _parts(weight)[0]
    return values.is_contiguous() and values.shape[-1] * values.element_size() % 16 == 0 and values.data_ptr() % 16 == 0


def _parts(weight: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """Values, scale and zero; where a format has none, the values stand in."""
    if isinstance(weight, Int4):
        return weight.packed, weight.scale, weight.zero
    return (weight.values, weight.scale, weight.values) if isinstance(weight, Fp8) else (weight, weight, weight)


@triton.jit
def _plan(
    chosen_ptr, listed_ptr, filled_ptr, pairs_ptr, pairs, slots,
    COLUMNS: tl.constexpr, BLOCKS: tl.constexpr, CHUNK: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_E: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """listed: each slot's expert, and at `slots` how many slots there are; filled: how many pairs a slot has; pairs
    [slots, COLUMNS]: which, in the order of their tokens. An expert has at most BLOCKS slots."""
    begin(OVERLAP)
    expert, pair = tl.arange(0, BLOCK_E), tl.arange(0, BLOCK_P)
    chosen = tl.load(chosen_ptr + pair, mask=pair < pairs, other=0).to(tl.int32)
    count = tl.histogram(chosen, BLOCK_E, mask=pair < pairs)
    # A pair's place among all is how many have a lower expert, or its own and a lower number. Pairs are compared CHUNK
    # at a time: a table of all with all is more than registers hold.
    key = chosen * BLOCK_P + pair
    before = tl.zeros([BLOCK_P, CHUNK], tl.int32)
    for start in tl.range(0, pairs, CHUNK):
        other = start + tl.arange(0, CHUNK)
        its = tl.load(chosen_ptr + other, mask=other < pairs, other=BLOCK_E).to(tl.int32) * BLOCK_P + other
        before += (its[None, :] < key[:, None]).to(tl.int32)
    blocks = tl.cdiv(count, COLUMNS)
    slot = tl.cumsum(blocks, 0) - blocks
    for block in tl.static_range(BLOCKS):
        tl.store(listed_ptr + slot + block, expert, mask=block < blocks)
        tl.store(filled_ptr + slot + block, tl.minimum(count - block * COLUMNS, COLUMNS), mask=block < blocks)
    tl.store(listed_ptr + slots, tl.sum(blocks, 0))
    place = tl.gather(slot * COLUMNS - tl.cumsum(count, 0) + count, chosen, 0) + tl.sum(before, 1)
    tl.store(pairs_ptr + place, pair, mask=pair < pairs)


@triton.jit
def _times(
    acc, values_ptr, scale_ptr, zero_ptr, first, row, x_row, is_x, step, rows, depth,
    FORM: tl.constexpr, BLOCK_K: tl.constexpr, EVEN: tl.constexpr, BITS: tl.constexpr,
):  # fmt: skip
    """acc [R, T] plus one step of rows of weights times x^T.

    first int64: the matrix's first row among all rows of the stack; row [R]: within the matrix, of which `rows` exist.
    x_row [T]: pointers to the tokens' rows, where is_x. A step is BLOCK_K columns; of int4 64 bytes, two groups.
    """
    k = step * BLOCK_K + tl.arange(0, BLOCK_K)
    at, there = first + row, row < rows
    if FORM == "int4":
        group = at * (depth // 64) + step * 2
        packed = tl.load(values_ptr + at[:, None] * (depth // 2) + k[None, :], mask=there[:, None], other=0)
        column = step * 128 + tl.arange(0, 64)
        low = tl.load(x_row[None, :] + column[:, None], mask=is_x[None, :], other=0.0)
        high = tl.load(x_row[None, :] + column[:, None] + 64, mask=is_x[None, :], other=0.0)
        if BITS:
            levels, levels_2 = unpack.nibbles(packed)
        else:
            levels, levels_2 = packed & 15, packed >> 4
        w = _real(levels, scale_ptr + group, zero_ptr + group, there, low.dtype, BITS)
        w_2 = _real(levels_2, scale_ptr + group + 1, zero_ptr + group + 1, there, low.dtype, BITS)
        acc = dot(w_2, high, dot(w, low, acc))
    else:
        here, is_k = there[:, None], is_x[None, :]
        if not EVEN:
            here, is_k = here & (k < depth)[None, :], is_k & (k < depth)[:, None]
        w = tl.load(values_ptr + at[:, None] * depth + k[None, :], mask=here, other=0.0)
        x = tl.load(x_row[None, :] + k[:, None], mask=is_k, other=0.0)
        if FORM == "fp8":  # a step is one scale wide
            at_scale = (first // rows * tl.cdiv(rows, 128) + row // 128) * tl.cdiv(depth, 128) + step
            scale = tl.load(scale_ptr + at_scale, mask=there, other=0.0)[:, None]
            if BITS:
                acc += dot(unpack.fp8(w), x * unpack.LIFTED) * (scale * unpack.LIFTED)
            else:
                acc += dot(w.to(x.dtype), x) * scale
        else:
            acc = dot(w, x, acc)
    return acc


@triton.jit
def _real(levels, scale_ptr, zero_ptr, here, dtype, BITS: tl.constexpr):
    """levels [R, K] times scale plus zero [R], rounded once."""
    scale = tl.load(scale_ptr, mask=here, other=0.0)[:, None]
    zero = tl.load(zero_ptr, mask=here, other=0.0)[:, None]
    if BITS:
        return tl.fma(levels, tl.broadcast_to(scale, levels.shape), tl.broadcast_to(zero, levels.shape))
    return (levels.to(tl.float32) * scale.to(tl.float32) + zero.to(tl.float32)).to(dtype)


@triton.jit
def _stream(
    values_ptr, scale_ptr, zero_ptr, first, row, apart, x_row, is_x, rows, depth,
    TWO: tl.constexpr, FORM: tl.constexpr, BLOCK_K: tl.constexpr, EVEN: tl.constexpr, BITS: tl.constexpr,
):  # fmt: skip
    """Rows of weights times x^T [R, T], and with TWO also the rows `apart` behind them."""
    acc = tl.zeros([row.shape[0], x_row.shape[0]], tl.float32)
    other = acc
    for step in tl.range(0, tl.cdiv(depth // 2 if FORM == "int4" else depth, BLOCK_K)):
        acc = _times(acc, values_ptr, scale_ptr, zero_ptr, first, row, x_row, is_x, step, rows, depth,
                     FORM, BLOCK_K, EVEN, BITS)  # fmt: skip
        if TWO:
            other = _times(other, values_ptr, scale_ptr, zero_ptr, first, row + apart, x_row, is_x, step, rows, depth,
                           FORM, BLOCK_K, EVEN, BITS)  # fmt: skip
    return acc, other


@triton.jit
def _ask(values_ptr, first, row, rows, depth, FORM: tl.constexpr, OVERLAP: tl.constexpr):
    """Rows of weights on their way into the cache, where they `can_be_asked_for`."""
    long = depth // 2 if FORM == "int4" else depth
    ask(values_ptr + (first + row) * long, long * (values_ptr.dtype.element_ty.primitive_bitwidth // 8), row < rows,
        OVERLAP)  # fmt: skip


@triton.jit
def _up(
    x_ptr, gate_up_ptr, scale_ptr, zero_ptr, shared_ptr, shared_scale_ptr, shared_zero_ptr, act_ptr, weights_ptr,
    listed_ptr, filled_ptr, pairs_ptr, tokens, slots, width, inner, pairs,
    TOP_K: tl.constexpr, PIECES: tl.constexpr, PLANNED: tl.constexpr, FORM: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr, EVEN: tl.constexpr, BITS: tl.constexpr,
    ASK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """BLOCK numbers of the activation of a slot's tokens, or of BLOCK_T tokens in one piece of the shared expert."""
    let_next(OVERLAP)
    slot = tl.program_id(0)
    t = tl.arange(0, BLOCK_T)
    gate_row = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    if slot < slots:
        wait(OVERLAP)
        if PLANNED:
            if slot >= tl.load(listed_ptr + slots):
                return
            pair = tl.load(pairs_ptr + slot * BLOCK_T + t, mask=t < tl.load(filled_ptr + slot), other=-1)
        else:
            pair = tl.where(t == 0, slot, -1)
        x_row, is_x = x_ptr + pair // TOP_K * width, pair >= 0
        rows = 2 * inner
        first = tl.load(listed_ptr + slot).to(tl.int64) * rows
        ends = tl.where(gate_row < inner, gate_row, rows)
        weight = tl.load(weights_ptr + pair, mask=pair >= 0, other=0.0)
        gate, up = _stream(gate_up_ptr, scale_ptr, zero_ptr, first, ends, inner, x_row, is_x, rows, width,
                           True, FORM, BLOCK_K, EVEN, BITS)  # fmt: skip
    else:
        piece, token = (slot - slots) % PIECES, (slot - slots) // PIECES * BLOCK_T + t
        x_row, is_x = x_ptr + token * width, token < tokens
        pair = tl.where(is_x, pairs + token * PIECES + piece, -1)
        rows = 2 * inner * PIECES
        first = tl.full([], 0, tl.int64)
        ends = tl.where(gate_row < inner, piece * inner + gate_row, rows)
        if ASK:  # these rows are read whatever the router chooses
            _ask(shared_ptr, first, ends, rows, width, FORM, OVERLAP)
            _ask(shared_ptr, first, ends + inner * PIECES, rows, width, FORM, OVERLAP)
        wait(OVERLAP)
        gate, up = _stream(shared_ptr, shared_scale_ptr, shared_zero_ptr, first, ends, inner * PIECES, x_row, is_x,
                           rows, width, True, FORM, BLOCK_K, EVEN, BITS)  # fmt: skip
        weight = tl.where(is_x, 1.0, 0.0)
    act = gate * tl.sigmoid(gate) * up * weight[None, :]
    out = act_ptr + pair[None, :] * inner + gate_row[:, None]
    tl.store(out, act.to(act_ptr.dtype.element_ty), mask=(pair >= 0)[None, :] & (gate_row < inner)[:, None])


@triton.jit
def _down(
    act_ptr, down_ptr, scale_ptr, zero_ptr, shared_ptr, shared_scale_ptr, shared_zero_ptr, results_ptr,
    listed_ptr, filled_ptr, pairs_ptr, tokens, slots, width, inner, pairs,
    PIECES: tl.constexpr, PLANNED: tl.constexpr, FORM: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr, EVEN: tl.constexpr, BITS: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """BLOCK columns of a slot's results, or of BLOCK_T tokens' by the shared expert: a row for each pair, then one for
    each token."""
    begin(OVERLAP)
    slot = tl.program_id(0)
    t = tl.arange(0, BLOCK_T)
    row = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    if slot < slots:
        if PLANNED:
            if slot >= tl.load(listed_ptr + slots):
                return
            pair = tl.load(pairs_ptr + slot * BLOCK_T + t, mask=t < tl.load(filled_ptr + slot), other=-1)
        else:
            pair = tl.where(t == 0, slot, -1)
        first = tl.load(listed_ptr + slot).to(tl.int64) * width
        acc, _ = _stream(down_ptr, scale_ptr, zero_ptr, first, row, 0, act_ptr + pair * inner, pair >= 0, width, inner,
                         False, FORM, BLOCK_K, EVEN, BITS)  # fmt: skip
    else:
        token = (slot - slots) * BLOCK_T + t
        pair = tl.where(token < tokens, pairs + token, -1)
        act_row = act_ptr + (pairs + token * PIECES) * inner
        first = tl.full([], 0, tl.int64)
        acc, _ = _stream(shared_ptr, shared_scale_ptr, shared_zero_ptr, first, row, 0, act_row, token < tokens, width,
                         inner * PIECES, False, FORM, BLOCK_K, EVEN, BITS)  # fmt: skip
    out = results_ptr + pair[None, :] * width + row[:, None]
    tl.store(out, acc, mask=(pair >= 0)[None, :] & (row < width)[:, None])


@triton.jit
def _add_up(results_ptr, out_ptr, width, pairs, TOP_K: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr):
    """BLOCK columns of one token's output: its experts' results in the order they were chosen, and the shared one's."""
    begin(OVERLAP)
    t, column = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    acc = tl.zeros([BLOCK], tl.float32)
    for k in tl.static_range(TOP_K):
        acc += tl.load(results_ptr + (t * TOP_K + k) * width + column, mask=column < width, other=0.0)
    acc += tl.load(results_ptr + (pairs + t) * width + column, mask=column < width, other=0.0)
    tl.store(out_ptr + t * width + column, acc.to(out_ptr.dtype.element_ty), mask=column < width)
