"""MLA prefill in Triton against `mla.attend_expanded` in float64: chunked, over segments, merged, at odd lengths."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from kernels import mla, mla_prefill_triton
from tests.kernels.device import DEVICE, ON_GPU

Shape = tuple[int, int, int, int, int]
PUBLISHED: Shape = (32 if ON_GPU else 2, 128, 64, 128, 512)
MINI: Shape = (2, 48, 16, 64, 128)
TINY: Shape = (2, 8, 8, 8, 16)
DTYPES = [torch.bfloat16 if ON_GPU else torch.float32]


def draw(shape: Shape, tokens: int, lengths: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, list[Tensor], Tensor]:
    """Random q [H, T, nope+P], pages of latents and the expansion [H, nope+V, R]; scores of a few units."""
    heads, nope, shared, value, rank = shape
    random = torch.Generator(DEVICE).manual_seed(tokens)

    def randn(*size: int) -> Tensor:
        return torch.randn(size, generator=random, device=DEVICE)

    q = 1.5 * randn(tokens, heads, nope + shared).transpose(0, 1)
    pages = [randn(length, rank + shared).to(dtype) for length in lengths]
    return q.to(dtype), pages, (randn(heads, nope + value, rank) * rank**-0.5).to(dtype)


def check(shape: Shape, tokens: int, lengths: Sequence[int], causal: bool, dtype: torch.dtype, past: bool) -> None:
    """Triton against float64, over all heads on the CPU and three on a GPU."""
    heads, nope, _, value, _ = shape
    q, pages, up = draw(shape, tokens, lengths, dtype)
    scale = q.shape[-1] ** -0.5
    before = (torch.randn(heads, tokens, value, device=DEVICE), torch.randn(tokens, heads, device=DEVICE).t())
    o, lse = mla_prefill_triton.attend_expanded(q, pages, up, nope, scale, causal, before if past else None)
    some = sorted({0, heads // 2, heads - 1})
    wide = [page.double() for page in pages]
    exact = mla.attend_expanded(q[some].double(), wide, up[some].double(), nope, scale, causal,
                                (before[0][some].double(), before[1][some].double()) if past else None)  # fmt: skip
    # bf16 keys and values are rounded once more than in the reference: after the expansion.
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-5
    assert (o[some].double() - exact[0]).norm() <= tolerance * exact[0].norm()
    assert (lse[some].double() - exact[1]).abs().max() <= 3 * tolerance


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [1, 63, 65, *([64, 4097] if ON_GPU else [])])
@pytest.mark.parametrize("shape", [PUBLISHED, MINI], ids=["48B", "mini"])
def test_a_chunk_by_itself(shape: Shape, tokens: int, dtype: torch.dtype, past: bool) -> None:
    check(shape, tokens, [tokens], True, dtype, past)


@pytest.mark.parametrize("lengths", [[130], [64, 64, 5], *([[4096] * 32] if ON_GPU else [])])
@pytest.mark.parametrize("shape", [PUBLISHED, TINY] if ON_GPU else [TINY], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_queries_at_the_end_of_a_longer_range(shape: Shape, lengths: list[int], causal: bool) -> None:
    for tokens in (1, 5, 65):
        check(shape, tokens, lengths, causal, DTYPES[0], past=True)


def test_segments_of_the_past_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    q, pages, up = draw(TINY, 20, [32] * 5 + [7], DTYPES[0])
    whole = mla_prefill_triton.attend_expanded(q, pages, up, TINY[1], 0.25, False)
    monkeypatch.setattr(mla_prefill_triton, "SEGMENT", 64)
    parts = mla_prefill_triton.attend_expanded(q, pages, up, TINY[1], 0.25, False)
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3)


def test_no_more_is_expanded_at_once_however_long_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    expanded: list[int] = []

    def expand(pages: Sequence[Tensor], up: Tensor) -> tuple[Tensor, Tensor]:
        expanded.append(sum(page.shape[0] for page in pages))
        return plain(pages, up)

    plain = mla_prefill_triton.expand
    monkeypatch.setattr(mla_prefill_triton, "expand", expand)
    monkeypatch.setattr(mla_prefill_triton, "SEGMENT", 64)
    for count in (2, 9):
        expanded.clear()
        q, pages, up = draw(TINY, 5, [32] * count, DTYPES[0])
        mla_prefill_triton.attend_expanded(q, pages, up, TINY[1], 0.25, False)
        assert sum(expanded) == 32 * count
        assert max(expanded) == 64


def test_large_scores_and_two_runs() -> None:
    q, pages, up = draw(TINY, 70, [70], DTYPES[0])
    q = 100 * q
    first = mla_prefill_triton.attend_expanded(q, pages, up, 8, 0.25, True)
    again = mla_prefill_triton.attend_expanded(q, pages, up, 8, 0.25, True)
    exact = mla.attend_expanded(q.double(), [page.double() for page in pages], up.double(), 8, 0.25, True)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    if not ON_GPU:  # rounding of keys to bf16 moves such scores by whole units
        assert (first[0].double() - exact[0]).norm() <= 1e-4 * exact[0].norm()


def test_widths_the_copy_engine_cannot_address_are_named() -> None:
    q, pages, up = draw((2, 6, 4, 6, 16), 3, [3], torch.bfloat16)
    with pytest.raises(ValueError, match="16 bytes"):
        mla_prefill_triton.attend_expanded(q, pages, up, 6, 0.3, True)
