"""KDA's state over the chunks of a sequence: the serial part of the prefill, and how it is cut to fill the GPU.

`pass_kernel` carries the state [K, V] of a head from chunk to chunk and writes the outputs (letters of
`kda_chunk_triton`):

    new = values - keys S        o = read S + attention new        S <- total S + write^T new

Columns of the state do not meet, so V is cut into slices of its own programs. What still leaves the GPU idle (few
heads, one sequence) is cut into segments: each is an affine map of the state it starts from, S -> M S + L.
`segment_kernel` finds L and M for all but the last segment side by side (L is the pass started from zero, M the same
without values started from the identity; the first segment starts from the given state and needs no M), `join_kernel`
chains them into the state each segment starts from, and the pass then runs all segments at once.
"""

# mypy: allow-untyped-defs
import triton
import triton.language as tl

from kernels.kda_chunk_triton import dot


@triton.jit
def pass_kernel(
    values_ptr, keys_ptr, read_ptr, write_ptr, attention_ptr, total_ptr, bounds_ptr, slots_ptr,
    start_ptr, out_ptr, end_ptr, saved_ptr, chunks, segments, slots, H,
    K: tl.constexpr, V: tl.constexpr, C: tl.constexpr, SLICE: tl.constexpr,
):
    """One segment of one sequence (program 0), one head (1), one slice of V (2). start [B, segments, H, K, V] float32,
    out [tokens, H, V], end [B, H, K, V], saved [B, slots, H, K, V]: the state after chunk n where slots[n] >= 0."""
    sequence, segment = tl.program_id(0) // segments, tl.program_id(0) % segments
    h, column = tl.program_id(1), tl.program_id(2) * SLICE + tl.arange(0, SLICE)
    i, key = tl.arange(0, C), tl.arange(0, K)
    square = i[:, None] * C + i[None, :]
    at_key = i[:, None] * K + key[None, :]
    at_value = i[:, None] * V + column[None, :]
    at_state = key[:, None] * V + column[None, :]

    state = tl.load(start_ptr + (tl.program_id(0) * H + h).to(tl.int64) * K * V + at_state)
    first = sequence * chunks
    for n in range(first + segment * chunks // segments, first + (segment + 1) * chunks // segments):
        tile = (n * H + h).to(tl.int64) * C
        keys = tl.load(keys_ptr + tile * K + at_key)
        values = tl.load(values_ptr + tile * V + at_value)
        rounded = state.to(keys.dtype)
        new = (values - dot(keys, rounded)).to(keys.dtype)
        read = tl.load(read_ptr + tile * K + at_key)
        attention = tl.load(attention_ptr + tile * C + square)
        out = dot(attention, new, dot(read, rounded))
        write = tl.load(write_ptr + tile * K + at_key)
        total = tl.load(total_ptr + (n * H + h) * K + key)
        state = dot(tl.trans(write), new, state * total[:, None])

        begin = tl.load(bounds_ptr + 2 * n)
        token = (begin + i).to(tl.int64)
        inside = begin + i < tl.load(bounds_ptr + 2 * n + 1)
        at_out = (token[:, None] * H + h) * V + column[None, :]
        tl.store(out_ptr + at_out, out.to(out_ptr.dtype.element_ty), mask=inside[:, None])
        slot = tl.load(slots_ptr + n)
        if slot >= 0:
            tl.store(saved_ptr + ((sequence * slots + slot) * H + h).to(tl.int64) * K * V + at_state, state)
    if segment == segments - 1:
        tl.store(end_ptr + (sequence * H + h).to(tl.int64) * K * V + at_state, state)


@triton.jit
def segment_kernel(
    values_ptr, keys_ptr, write_ptr, total_ptr, state_ptr, maps_ptr, chunks, segments, H,
    K: tl.constexpr, V: tl.constexpr, C: tl.constexpr, SLICE: tl.constexpr,
):
    """maps [B, segments - 1, H, K, V + K]: L beside M of every segment but the last (of the first, L from `state`)."""
    sequence, segment = tl.program_id(0) // (segments - 1), tl.program_id(0) % (segments - 1)
    h, column = tl.program_id(1), tl.program_id(2) * SLICE + tl.arange(0, SLICE)
    i, key = tl.arange(0, C), tl.arange(0, K)
    at_key = i[:, None] * K + key[None, :]
    of_values = tl.program_id(2) * SLICE < V
    if of_values or segment > 0:
        state = tl.where(column[None, :] == key[:, None] + V, 1.0, 0.0)
        if of_values and segment == 0:
            at_state = key[:, None] * V + column[None, :]
            state = tl.load(state_ptr + (sequence * H + h).to(tl.int64) * K * V + at_state)
        first = sequence * chunks
        for n in range(first + segment * chunks // segments, first + (segment + 1) * chunks // segments):
            tile = (n * H + h).to(tl.int64) * C
            keys = tl.load(keys_ptr + tile * K + at_key)
            at_value = i[:, None] * V + column[None, :]
            values = tl.load(values_ptr + tile * V + at_value, mask=(column < V)[None, :], other=0.0)
            new = (values - dot(keys, state.to(keys.dtype))).to(keys.dtype)
            write = tl.load(write_ptr + tile * K + at_key)
            total = tl.load(total_ptr + (n * H + h) * K + key)
            state = dot(tl.trans(write), new, state * total[:, None])
        at_map = key[:, None] * (V + K) + column[None, :]
        tl.store(maps_ptr + (tl.program_id(0) * H + h).to(tl.int64) * K * (V + K) + at_map, state)


@triton.jit
def join_kernel(
    maps_ptr, state_ptr, start_ptr, segments, H,
    K: tl.constexpr, V: tl.constexpr, SLICE: tl.constexpr,
):
    """start [B, segments, H, K, V]: the state each segment begins with, from `state` [B, H, K, V] and the maps."""
    sequence, h, column = tl.program_id(0), tl.program_id(1), tl.program_id(2) * SLICE + tl.arange(0, SLICE)
    key = tl.arange(0, K)
    at_state = key[:, None] * V + column[None, :]
    at_map = key[:, None] * (V + K)
    state = tl.load(state_ptr + (sequence * H + h).to(tl.int64) * K * V + at_state)
    tl.store(start_ptr + (sequence * segments * H + h).to(tl.int64) * K * V + at_state, state)
    maps_ptr += (sequence * (segments - 1) * H + h).to(tl.int64) * K * (V + K)
    for segment in range(segments - 1):
        local = tl.load(maps_ptr + at_map + column[None, :])
        if segment > 0:
            local = dot(tl.load(maps_ptr + at_map + V + key[None, :]), state, local)
        state = local
        maps_ptr += H * K * (V + K)
        place = (sequence * segments + segment + 1) * H + h
        tl.store(start_ptr + place.to(tl.int64) * K * V + at_state, state)
