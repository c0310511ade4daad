"""MLA on a GPU: a chunk over its past with expansion, decode over pages, questions that share them; cuDNN beside us.

Off a GPU it is a dry run at tiny sizes in Triton's interpreter: every line of it runs, nothing is measured.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.bench.timing import ceilings, copy_speed, graphed_milliseconds, milliseconds
from tests.kernels.device import DEVICE, ON_GPU

HEADS, NOPE, SHARED, VALUE, RANK = (32, 128, 64, 128, 512) if ON_GPU else (2, 8, 8, 8, 16)
CHUNK, PAGE = (16_384, 4_096) if ON_GPU else (40, 64)
PASTS = [0, 16_384, 65_536, 262_144] if ON_GPU else [0, 100]
LONGEST = 1_032_192 if ON_GPU else 130
"""With a chunk behind it, 1,048,576: timed once, for it takes 0.6 s."""
LENGTHS = [2_048, 32_768, 131_072, 1_048_576] if ON_GPU else [70]
DTYPE = torch.bfloat16 if ON_GPU else torch.float32
SCALE = (NOPE + SHARED) ** -0.5


def run() -> Iterator[str]:
    """The tables."""
    yield from [ceilings(), ""]
    for table in (prefill, candidates, decode, questions):
        yield from table()
        yield ""


def random(*shape: int) -> Tensor:
    """N(0, 1)."""
    return torch.randn(shape, device=DEVICE).to(DTYPE)


def pages(length: int) -> list[Tensor]:
    """Latents of `length` tokens in pages."""
    return [random(min(PAGE, length - start), RANK + SHARED) for start in range(0, length, PAGE)]


def expansion() -> Tensor:
    """kv_b_proj at unit scale."""
    return (random(HEADS, NOPE + VALUE, RANK) * RANK**-0.5).contiguous()


def operations(queries: int, keys: float) -> float:
    """Of attention alone: scores and sums of every query with `keys` keys."""
    return 2.0 * HEADS * queries * keys * (NOPE + SHARED + VALUE)


def cudnn(queries: int, keys: int, causal: bool) -> float:
    """Milliseconds of SDPA through cuDNN on keys and values already expanded; NaN where it is not to be had."""
    q, k = random(1, HEADS, queries, NOPE + SHARED), random(1, HEADS, keys, NOPE + SHARED)
    v = random(1, HEADS, keys, VALUE)
    if not ON_GPU:
        return math.nan
    try:
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION), torch.inference_mode():
            return milliseconds(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal))
    except RuntimeError:
        return math.nan


def prefill() -> Iterator[str]:
    """A chunk over its past, latents to output: the past in segments, then the chunk itself, causally."""
    from kernels.mla_prefill_triton import SEGMENT, attend_expanded

    yield "| chunk of 16k over | ours ms, with expansion | TFLOP/s of attention | cuDNN without: TFLOP/s | ratio |"
    yield "|---|---|---|---|---|"
    q, rows, up = random(CHUNK, HEADS, NOPE + SHARED).transpose(0, 1), random(CHUNK, RANK + SHARED), expansion()
    for past in [*PASTS, LONGEST]:
        before = pages(past)

        def work() -> Any:
            earlier = attend_expanded(q, before, up, NOPE, SCALE, causal=False) if before else None  # noqa: B023
            return attend_expanded(q, [rows], up, NOPE, SCALE, causal=True, past=earlier)

        ours = milliseconds(work, repeat=2 if past == LONGEST else 20)
        keys = min(past, SEGMENT if ON_GPU else past)
        theirs = cudnn(CHUNK, keys or CHUNK, causal=not past)
        rate = operations(CHUNK, past + CHUNK / 2) / ours / 1e9
        peer = operations(CHUNK, keys or CHUNK / 2) / theirs / 1e9
        yield f"| {past:,} | {ours:.2f} | {rate:.0f} | {peer:.0f} ({keys or CHUNK:,} keys) | {rate / peer:.2f} |"


def candidates() -> Iterator[str]:
    """The attention kernel alone, without a mask, with other tiles; and the expansion."""
    from kernels import mla_prefill_triton as module
    from kernels.mla_prefill_triton import TILES, attend, expand

    yield "| one segment, keys expanded | ms | TFLOP/s |"
    yield "|---|---|---|"
    q, up = random(CHUNK, HEADS, NOPE + SHARED).transpose(0, 1), expansion()
    kv, latents = expand(pages(2 * CHUNK), up)
    if ON_GPU:
        ms = milliseconds(lambda: attend(q, kv, latents, NOPE, SCALE, False))
        yield f"| warps told apart (Gluon, used) | {ms:.2f} | {operations(CHUNK, 2 * CHUNK) / ms / 1e9:.0f} |"
    kept, module.GLUON = module.GLUON, False
    for m, n, warps, stages in [(128, 128, 8, 2), (128, 64, 8, 3), (128, 64, 8, 2), (64, 64, 4, 2)]:
        tiles = {"BLOCK_M": m, "BLOCK_N": n, "num_warps": warps, "num_stages": stages}
        try:
            ms = milliseconds(lambda: attend(q, kv, latents, NOPE, SCALE, False, tiles=tiles))  # noqa: B023
        except Exception as error:  # a candidate too large for the GPU is a row of the table, not its end
            yield f"| {m} x {n}, {warps} warps, {stages} stages | {type(error).__name__} | |"
            continue
        rate, used = operations(CHUNK, 2 * CHUNK) / ms / 1e9, " (for other shapes)" if tiles == TILES else ""
        yield f"| {m} x {n}, {warps} warps, {stages} stages{used} | {ms:.2f} | {rate:.0f} |"
    module.GLUON = kept
    ms = milliseconds(lambda: expand([latents], up))
    rate = 2 * len(latents) * RANK * HEADS * (NOPE + VALUE) / ms / 1e9
    yield f"| expansion of {len(latents):,} latents | {ms:.3f} | {rate:.0f} |"


def decode() -> Iterator[str]:
    """One token a row over its own pages, in a CUDA graph: bytes of latents read against the copy."""
    from kernels.mla_decode_triton import attend_spans, splits

    yield "| decode, rows x length | us a layer | TB/s | share of copy |"
    yield "|---|---|---|---|"
    lengths = [[length] for length in LENGTHS] + ([[2_048] * 8, [2_048] * 32, [131_072] * 8] if ON_GPU else [[70, 9]])
    for each in lengths:
        kept = [pages(length) for length in each]
        q, span = random(len(each), HEADS, RANK + SHARED), _span(kept)
        parts = splits(max(each))
        ms = graphed_milliseconds(lambda: attend_spans(q, [span], RANK, SCALE, parts))  # noqa: B023
        moved = sum(each) * (RANK + SHARED) * q.element_size() / ms * 1e3
        yield f"| {len(each)} x {each[0]:,} | {ms * 1e3:.1f} | {moved / 1e12:.2f} | {moved / copy_speed():.0%} |"


def questions() -> Iterator[str]:
    """Rows that share one document, in as many parts as in a step; beyond two rows arithmetic binds."""
    from kernels.mla_decode_triton import Span, attend_spans, splits
    from model.decode import split

    yield "| questions over one document of 128k | us a layer | TB/s of its latents | TFLOP/s |"
    yield "|---|---|---|---|"
    length = 131_072 if ON_GPU else 70
    kept = pages(length)
    for rows in (1, 2, 8, 32) if ON_GPU else (3,):
        alone = _span([kept])
        span = Span(alone.table, alone.lengths, torch.arange(rows, dtype=torch.int32, device=DEVICE)[None], PAGE)
        q = random(rows, HEADS, RANK + SHARED)
        parts = min(splits(length), split(rows))
        ms = graphed_milliseconds(lambda: attend_spans(q, [span], RANK, SCALE, parts, parts))  # noqa: B023
        moved = length * (RANK + SHARED) * q.element_size() / ms * 1e3
        rate = 2 * rows * HEADS * length * (2 * RANK + SHARED) / ms / 1e9
        yield f"| {rows} | {ms * 1e3:.1f} | {moved / 1e12:.2f} | {rate:.0f} |"


def _span(sequences: list[list[Tensor]]) -> Any:
    """Each row over its own sequence."""
    from kernels.mla_decode_triton import Span

    widest = max(map(len, sequences))
    table = [[page.data_ptr() for page in own] + [0] * (widest - len(own)) for own in sequences]
    lengths = [sum(page.shape[0] for page in own) for own in sequences]
    numbers = torch.arange(len(sequences), dtype=torch.int32, device=DEVICE)[:, None]
    return Span(
        torch.tensor(table, device=DEVICE), torch.tensor(lengths, dtype=torch.int32, device=DEVICE), numbers, PAGE
    )
