"""MLA decode in Triton against float64: pages of any fill, splits, shared pages, rows that mind only themselves."""

import pytest
import torch
from torch import Tensor

from kernels import mla, mla_decode_triton
from kernels.mla_decode_triton import Span, attend_pages, attend_spans
from tests.kernels.device import DEVICE, ON_GPU

PAGE = 4096 if ON_GPU else 128
DTYPE = torch.bfloat16 if ON_GPU else torch.float32
TOLERANCE = 1e-2 if ON_GPU else 1e-5

Shape = tuple[int, int, int]
PUBLISHED: Shape = (32, 512, 64)
MINI: Shape = (2, 128, 16)
SMALL: Shape = PUBLISHED if ON_GPU else (3, 24, 8)


def draw(*size: int, seed: int = 0, dtype: torch.dtype = DTYPE) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(size, generator=torch.Generator(DEVICE).manual_seed(seed), device=DEVICE).to(dtype)


def paged(latents: Tensor) -> list[Tensor]:
    """The same latents in pages; what a page has no tokens for is poison."""
    pages = []
    for start in range(0, latents.shape[0], PAGE):
        page = torch.full((PAGE, latents.shape[1]), float("nan"), dtype=latents.dtype, device=DEVICE)
        rows = latents[start : start + PAGE]
        page[: rows.shape[0]] = rows
        pages.append(page[: rows.shape[0]])
    return pages


def check(found: tuple[Tensor, Tensor], q: Tensor, latents: Tensor, rank: int, scale: float) -> None:
    """One sequence's o [H, T, R] and lse [H, T] against float64."""
    o, lse = mla.attend_latents(q.double(), latents.double(), rank, scale)
    assert (found[0].double() - o).norm() <= TOLERANCE * o.norm()
    assert (found[1].double() - lse).abs().max() <= TOLERANCE


@pytest.mark.parametrize("length", [1, 63, 65, PAGE, PAGE + 1, *([131072, 1048576] if ON_GPU else [])])
@pytest.mark.parametrize("shape", [PUBLISHED, MINI], ids=["48B", "mini"])
def test_one_query_over_pages(shape: Shape, length: int) -> None:
    heads, rank, shared = shape
    q, latents = draw(heads, 1, rank + shared), draw(length, rank + shared, seed=1)
    scale = 0.7 * (rank + shared) ** -0.5
    check(attend_pages(q, paged(latents), rank, scale), q, latents, rank, scale)


@pytest.mark.parametrize("tokens", [2, 3, 5, *([64, 100] if ON_GPU else [])])
def test_several_queries_share_the_pages(tokens: int) -> None:
    heads, rank, shared = SMALL
    q, latents = draw(heads, tokens, rank + shared), draw(2 * PAGE + 70, rank + shared, seed=1)
    check(attend_pages(q, paged(latents), rank, 0.1), q, latents, rank, 0.1)


@pytest.mark.parametrize("length", [255, 256, 257, 5000])
def test_a_long_sequence_is_split_and_joined(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mla_decode_triton, "SPLITS", 5)
    heads, rank, shared = 2, 16, 8
    q, latents = draw(heads, 1, rank + shared), draw(length, rank + shared, seed=1)
    assert mla_decode_triton.splits(length) <= 5
    check(attend_pages(q, paged(latents), rank, 0.3), q, latents, rank, 0.3)


def spans_of(sequences: list[Tensor], queries: list[list[int]]) -> Span:
    """A span whose groups, each with the rows given, attend to the sequences given."""
    pages = [paged(latents) for latents in sequences]
    widest, most = max(map(len, pages)), max(map(len, queries))
    table = [[page.data_ptr() for page in own] + [0] * (widest - len(own)) for own in pages]
    rows = [own + [-1] * (most - len(own)) for own in queries]
    span = Span(
        torch.tensor(table, dtype=torch.int64, device=DEVICE).reshape(len(pages), widest),
        torch.tensor([len(latents) for latents in sequences], dtype=torch.int32, device=DEVICE),
        torch.tensor(rows, dtype=torch.int32, device=DEVICE),
        PAGE,
    )
    KEPT.append(pages)
    return span


KEPT: list[list[list[Tensor]]] = []
"""Pages behind addresses in a span live as long as the tests."""


def test_documents_shared_by_some_rows_and_every_rows_own_tail() -> None:
    heads, rank, shared = SMALL
    width, scale = rank + shared, 0.2
    documents = [draw(length, width, seed=length) for length in (3 * PAGE, 200)]
    tails = [draw(length, width, seed=100 + length) for length in (1, 65, 300, 7, PAGE)]
    groups = [[0, 2, 3], [1], [4]]  # the last row has no document: a group of length 0
    q = draw(5, heads, width)
    nothing = draw(0, width)
    shared_span = spans_of([*documents, nothing], groups)
    own = spans_of(tails, [[n] for n in range(5)])
    o, lse = attend_spans(q, [shared_span, own], rank, scale, parts=mla_decode_triton.splits(3 * PAGE))
    of_row = {0: 0, 2: 0, 3: 0, 1: 1}
    for row in range(5):
        latents = torch.cat([documents[of_row[row]] if row in of_row else nothing, tails[row]])
        check((o[row][:, None], lse[row][:, None]), q[row][:, None], latents, rank, scale)


def test_a_row_does_not_mind_its_neighbours() -> None:
    heads, rank, shared = SMALL
    parts = mla_decode_triton.splits(700)
    lengths = [300, 17, 700, 64]
    sequences = [draw(length, rank + shared, seed=length) for length in lengths]
    q = draw(4, heads, rank + shared)
    together, _ = attend_spans(q, [spans_of(sequences, [[0], [1], [2], [3]])], rank, 0.2, parts=parts)
    for row in range(4):
        alone, _ = attend_spans(q[row : row + 1], [spans_of(sequences[row : row + 1], [[0]])], rank, 0.2, parts=parts)
        assert torch.equal(alone[0], together[row])
    alike, _ = attend_spans(q, [spans_of(sequences[2:3], [[0, 1, 2, 3]])], rank, 0.2, parts=parts)
    alone, _ = attend_spans(q[1:2], [spans_of(sequences[2:3], [[0]])], rank, 0.2, parts=parts)
    # The interpreter's product of 16 columns may round otherwise than that of 64; a GPU's may not.
    assert torch.equal(alone[0], alike[1]) if ON_GPU else torch.allclose(alone[0], alike[1], rtol=1e-5, atol=1e-6)
