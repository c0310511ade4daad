"""KDA's prefill in Triton: chunks side by side (`kda_chunk_triton`), then the state over them (`kda_pass_triton`)."""

from collections.abc import Sequence
from functools import lru_cache

import torch
import triton.language as tl
from torch import Tensor

from kernels.kda_chunk_triton import CHUNK, LEVELS, chunk_kernel, sums
from kernels.kda_pass_triton import join_kernel, pass_kernel, segment_kernel
from kernels.launch_triton import generation

TYPES = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}

SPAN = 16_384
"""Tokens whose chunks are held at once: 72 KiB a chunk and head, 590 MB at 32 heads."""

TILES = {"PART": 64, "num_warps": 4, "maxnreg": 168}
"""Channels of a chunk worked on at once, and registers: few enough for three chunks on a multiprocessor."""

NARROWEST = 64
"""Heads narrower than this are multiplied in float32: compiled by Triton 3.6 for Hopper, tiles of 16 or 32 numbers in
float16 or bfloat16 give wrong results that the interpreter does not show."""

GLUON = True
"""Whether heads that fit take `kda_chunk_gluon_triton` and `kda_pass_gluon_triton`: twice as fast on an H200."""
LONG = 32
"""Chunks of a sequence from which its pass is Gluon's too: describing tiles to the copy engine takes the host 50 us,
which a question's few chunks do not win back."""

SLICE = 32
"""Columns of the state in one program."""
STAGES = 3
"""Chunks of the pass that are on their way at once."""
FILL = 128
"""Programs the pass should have: as many as an H200 has multiprocessors, nearly."""
MIN_CHUNKS = 8
"""Chunks a segment has at least: a shorter one costs more in its map than it gains."""


def prefill(
    q: Tensor, k: Tensor, v: Tensor, raw: Tensor, beta: Tensor,
    a_log: Tensor, dt_bias: Tensor, state: Tensor, save_at: Sequence[int] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """`kda_prefill.prefill`. K and V are powers of two from 16 to 128; products in float16 and bfloat16
    unless v is float32 or heads are narrow. The inputs may be views whose rows of [H, K] are whole."""
    if q.dim() == 3:
        q, k, v, raw, beta, state = (x[None] for x in (q, k, v, raw, beta, state))
        o, state, saved = prefill(q, k, v, raw, beta, a_log, dt_bias, state, save_at)
        return o[0], state[0], saved[0]
    batch, tokens = q.shape[:2]
    inputs = [x.flatten(0, 1) for x in (q, k, v, raw, beta)]
    o = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    saved = state.new_empty(batch, len(save_at), *state.shape[1:])
    for start in range(0, tokens, SPAN):
        end = min(start + SPAN, tokens)
        within = [n for n, place in enumerate(save_at) if start < place <= end]
        places = tuple(save_at[n] for n in within)
        bounds, slots = _chunk_table(batch, tokens, start, end, places, q.device)
        chunks = _chunks(inputs, a_log, dt_bias, bounds)
        state, states = _pass(chunks, bounds, slots, state, o, len(places))
        if within:
            saved[:, within[0] : within[-1] + 1] = states
    return o, state, saved


def _chunks(inputs: list[Tensor], a_log: Tensor, dt_bias: Tensor, bounds: Tensor) -> list[Tensor]:
    """What `chunk_kernel` makes of inputs [tokens, H, .], chunk by chunk: tensors [N, H, C, .] and total [N, H, K]."""
    q, _, v, _, _ = inputs
    heads, keys, values = q.shape[1], q.shape[2], v.shape[2]
    half, wide = torch.float16, torch.bfloat16
    if v.dtype == torch.float32 or min(keys, values) < NARROWEST:
        half = wide = torch.float32
    rows = [(CHUNK, values), (CHUNK, keys), (CHUNK, keys), (CHUNK, keys), (CHUNK, CHUNK)]
    chunks = [torch.empty(len(bounds), heads, *row, dtype=wide, device=q.device) for row in rows]
    chunks.append(torch.empty(len(bounds), heads, keys, device=q.device))
    inputs = [_whole_rows(x) for x in inputs]
    if _named(keys, values, wide, q.device):
        from kernels import kda_chunk_gluon_triton

        kda_chunk_gluon_triton.fill(chunks, inputs, a_log, dt_bias, bounds)
        return chunks
    chunk_kernel[(len(bounds), heads)](
        *inputs, a_log, dt_bias, bounds, _sums(q.device, half),
        chunks[0], chunks[1], chunks[1].view(half), *chunks[2:],
        *(x.stride(0) for x in inputs), keys**-0.5, heads,
        K=keys, V=values, C=CHUNK, LEVELS=LEVELS, HALF=TYPES[half], WIDE=TYPES[wide],
        num_stages=1, **(TILES | {"PART": min(TILES["PART"], keys, values)}),
    )  # fmt: skip
    return chunks


def _pass(
    chunks: list[Tensor], bounds: Tensor, slots: Tensor, state: Tensor, o: Tensor, places: int
) -> tuple[Tensor, Tensor]:
    """Carry `state` [B, H, K, V] over the chunks: writes their rows of `o`, returns (the new state, the saved ones)."""
    values, keys, read, write, attention, total = chunks
    batch, heads, width, columns = state.shape
    each = len(bounds) // batch
    cut = min(SLICE, columns)
    segments = segment_count(batch * heads * (columns // cut), each)
    stages = STAGES if keys.dtype == torch.bfloat16 else 1
    shape = {"K": width, "V": columns, "SLICE": cut}
    starts = state = state.contiguous()
    if segments > 1:
        maps = state.new_empty(batch, segments - 1, heads, width, columns + width)
        starts = state.new_empty(batch, segments, heads, width, columns)
        segment_kernel[(batch * (segments - 1), heads, (columns + width) // cut)](
            values, keys, write, total, state, maps, each, segments, heads,
            **shape, C=CHUNK, num_warps=4, num_stages=stages,
        )  # fmt: skip
        join_kernel[(batch, heads, columns // cut)](maps, state, starts, segments, heads, **shape, num_warps=8)
    end, saved = torch.empty_like(state), state.new_empty(batch, places, heads, width, columns)
    if each >= LONG and _named(width, columns, keys.dtype, o.device):
        from kernels import kda_pass_gluon_triton

        kda_pass_gluon_triton.carry(chunks, bounds, slots, starts, o, end, saved, each, segments)
        return end, saved
    pass_kernel[(batch * segments, heads, columns // cut)](
        values, keys, read, write, attention, total, bounds, slots, starts, o, end, saved,
        each, segments, places, heads, **shape, C=CHUNK, num_warps=4, num_stages=stages,
    )  # fmt: skip
    return end, saved


def _named(keys: int, values: int, wide: torch.dtype, device: torch.device) -> bool:
    """Whether heads this wide go through the kernels in Gluon."""
    return GLUON and generation(device) == 9 and wide == torch.bfloat16 and {keys, values} <= {64, 128}


def segment_count(programs: int, chunks: int) -> int:
    """Into how many segments a sequence of `chunks` is cut where each would have `programs` programs: 1 where half the
    GPU is at work already, since finding a segment's map costs about as much as passing over it."""
    if 2 * programs >= FILL:
        return 1
    return max(1, min(FILL // programs, chunks // MIN_CHUNKS))


@lru_cache(maxsize=64)
def _chunk_table(
    batch: int, tokens: int, start: int, end: int, places: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Chunks of tokens start..end of each sequence, ending early where a state is to be saved.

    Returns bounds int32 [N, 2] (first token, end; counted over all sequences one after another) and slots int32 [N]:
    which of the saved states stands after the chunk, or -1.
    """
    bounds, slots = [], []
    for sequence in range(batch):
        offset, begin = sequence * tokens, start
        for slot, stop in enumerate((*places, end)):
            for first in range(begin, stop, CHUNK):
                last = min(first + CHUNK, stop)
                bounds.append((offset + first, offset + last))
                slots.append(slot if last == stop and slot < len(places) else -1)
            begin = stop
    return torch.tensor(bounds, dtype=torch.int32).to(device), torch.tensor(slots, dtype=torch.int32).to(device)


_sums = lru_cache(maxsize=8)(sums)


def _whole_rows(x: Tensor) -> Tensor:
    """x [tokens, H, .] itself if a token's numbers lie side by side, as the kernel reads them; else a copy."""
    return x if x[0].is_contiguous() else x.contiguous()
