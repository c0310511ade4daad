"""MLA decode with its warps told apart: on a GPU against float64 and the plain kernel; elsewhere, who takes it."""

import pytest
import torch

from kernels import mla_decode_triton
from kernels.mla_decode_triton import ALONE, attend_pages, attend_spans, splits
from tests.kernels.device import DEVICE, ON_GPU
from tests.kernels.test_mla_decode_triton import PAGE, PUBLISHED, Shape, check, draw, paged, spans_of

SCALE = 0.7 * (128 + 64) ** -0.5


@pytest.mark.parametrize(
    ("shape", "dtype", "page_rows", "fits"),
    [
        (PUBLISHED, torch.bfloat16, 4096, True),
        (PUBLISHED, torch.bfloat16, ALONE, True),
        (PUBLISHED, torch.bfloat16, 96, False),
        (PUBLISHED, torch.float32, 4096, False),
        ((6, 128, 16), torch.bfloat16, 4096, False),
    ],
)
def test_it_takes_only_the_shapes_it_is_made_for(shape: Shape, dtype: torch.dtype, page_rows: int, fits: bool) -> None:
    from kernels import mla_decode_gluon_triton

    heads, rank, shared = shape
    q = torch.empty(2, heads, rank + shared, dtype=dtype, device=DEVICE)
    assert mla_decode_gluon_triton.fits(q, rank, page_rows) == fits


if ON_GPU:

    @pytest.mark.parametrize("gluon", [False, True])
    @pytest.mark.parametrize("tokens", [1, 2, 5, 32])
    @pytest.mark.parametrize("length", [1, 63, 64, 65, 4095, 4097, 20000])
    def test_with_and_without_it(length: int, tokens: int, gluon: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mla_decode_triton, "GLUON", gluon)
        heads, rank, shared = PUBLISHED
        q, latents = draw(heads, tokens, rank + shared), draw(length, rank + shared, seed=1)
        check(attend_pages(q, paged(latents), rank, SCALE), q, latents, rank, SCALE)

    def test_pages_at_any_multiple_of_16_bytes() -> None:
        heads, rank, shared = PUBLISHED
        q = draw(heads, 1, rank + shared)
        for shift in (8, 16, 72, 4096, 1 << 19):
            memory = draw(shift + 1000 * (rank + shared), seed=shift)
            latents = memory[shift:].view(1000, rank + shared)
            check(attend_pages(q, [latents], rank, SCALE), q, latents, rank, SCALE)

    def test_many_questions_give_what_each_gives_alone() -> None:
        heads, rank, shared = PUBLISHED
        length = 3 * PAGE + 77
        latents, q = draw(length, rank + shared, seed=1), draw(32, heads, rank + shared)
        parts = splits(length)
        together, _ = attend_spans(q, [spans_of([latents], [list(range(32))])], rank, SCALE, parts)
        for row in (0, 1, 30):
            alone, _ = attend_spans(q[row : row + 1], [spans_of([latents], [[0]])], rank, SCALE, parts)
            assert torch.equal(alone[0], together[row])

    @pytest.mark.parametrize("length", [1, 64, 65, 20000])
    @pytest.mark.parametrize("tokens", [1, 5])
    def test_what_is_settled_may_be_read_early_and_is_the_same(length: int, tokens: int) -> None:
        heads, rank, shared = PUBLISHED
        latents, q = draw(length, rank + shared, seed=1), draw(tokens, heads, rank + shared)
        span = spans_of([latents], [list(range(tokens))])
        found = [attend_spans(q, [span], rank, SCALE, splits(length), settled=settled) for settled in (False, True)]
        assert all(torch.equal(x, z) for x, z in zip(*found, strict=True))

    @pytest.mark.parametrize("rows", [2, 5, 32])
    def test_what_rows_share_and_every_rows_own_are_one_launch(rows: int) -> None:
        heads, rank, shared = PUBLISHED
        document, q = draw(2 * PAGE, rank + shared, seed=1), draw(rows, heads, rank + shared)
        tails = [draw(length, rank + shared, seed=2 + length) for length in (1, 70, PAGE + 9, 64, 300)]
        own = spans_of([tails[row % 5] for row in range(rows)], [[row] for row in range(rows)])
        for length in (2 * PAGE, 0):
            among = spans_of([document[:length]], [list(range(rows))])
            o, lse = attend_spans(q, [own, among], rank, SCALE, splits(2 * PAGE))
            for row in range(rows):
                latents = torch.cat([document[:length], tails[row % 5]])
                check((o[row][:, None], lse[row][:, None]), q[row][:, None], latents, rank, SCALE)
            for row in {0, rows - 1}:
                alone = spans_of([tails[row % 5]], [[0]]), spans_of([document[:length]], [[0]])
                found, _ = attend_spans(q[row : row + 1], alone, rank, SCALE, splits(2 * PAGE))
                assert torch.equal(found[0], o[row])
