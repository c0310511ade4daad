"""Attention of one token over pages of latents on a processor, against `mla`'s functions."""

import numpy as np
import pytest
import torch

from kernels import mla, norm
from kernels.linear_numba import stored
from kernels.mla_decode_numba import BLOCK, LOG2_E, MLAWeights, attend, begin, finish, join
from model.quantize import quantize

HEADS, RANK, SHARED, NOPE, VALUES, HIDDEN = 2, 48, 16, 24, 32, 128
SCALE = (NOPE + SHARED) ** -0.5
Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bits(x: torch.Tensor) -> np.ndarray:
    """A tensor as the kernels see it."""
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def attended(q: torch.Tensor, pages: list[torch.Tensor]) -> Found:
    """What the kernel finds in some pages, one after another."""
    found = (np.full(HEADS, -np.inf, np.float32), np.zeros(HEADS, np.float32), np.zeros((HEADS, RANK), np.float32))
    for page in pages:
        attend((q * (SCALE * LOG2_E)).numpy(), bits(page), *found)
    return found


@pytest.mark.parametrize("stored_as", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("sizes", [[1], [BLOCK], [BLOCK + 1], [100, 100, 7]])
@pytest.mark.parametrize("strength", [1.0, 30.0])
def test_pages_are_attended_to_as_by_the_reference(sizes: list[int], stored_as: torch.dtype, strength: float) -> None:
    pages = [random(size, RANK + SHARED, seed=n).to(stored_as) for n, size in enumerate(sizes)]
    q = strength * random(HEADS, RANK + SHARED, seed=9)
    _, total, o = attended(q, pages)
    latents = torch.cat(pages)[None].float()
    expected, _ = mla.attend_reference(q[None], latents, latents, SCALE, False)
    found = torch.from_numpy(o / total[:, None])
    torch.testing.assert_close(found, expected[0, :, :RANK], rtol=1e-4, atol=1e-4)


def test_what_two_found_is_joined_as_if_one_had() -> None:
    pages = [(1 + 4 * n) * random(90, RANK + SHARED, seed=n).bfloat16() for n in range(4)]
    q = random(HEADS, RANK + SHARED, seed=9)
    _, total, o = attended(q, pages)
    for cut in (1, 3):
        first, second = attended(q, pages[:cut]), attended(q, pages[cut:])
        join(*first, *second)
        np.testing.assert_allclose(first[2] / first[1][:, None], o / total[:, None], rtol=1e-4, atol=1e-5)


def test_a_layer_is_the_references() -> None:
    query, down, output = (quantize(random(*shape, seed=n) * 0.2, 4, 64) for n, shape in enumerate(
        [(HEADS * (NOPE + SHARED), HIDDEN), (RANK + SHARED, HIDDEN), (HIDDEN, HEADS * VALUES)]))
    x, before, weight = random(HIDDEN, seed=3), 1 + random(HIDDEN, seed=4) / 4, 1 + random(RANK, seed=5) / 4
    up = random(HEADS, NOPE + VALUES, RANK, seed=6) * 0.2
    weights = MLAWeights(before.numpy(), stored([query]), stored([down]), weight.numpy(), np.float32(1e-6), up.numpy(),
                         stored([output]), NOPE, np.float32(SCALE), np.float32(1e-5))
    page = torch.zeros(50, RANK + SHARED).bfloat16()
    page[:49] = random(49, RANK + SHARED, seed=7)
    found = x.numpy().copy()
    q = begin(found, weights, bits(page)[49])
    state = attended(torch.from_numpy(q) / (SCALE * LOG2_E), [page])
    finish(found, weights, *state[1:])

    token = norm.rms_norm(x[None], before, 1e-5)
    latent = token @ down.values(torch.float32).t()
    own = torch.cat([norm.rms_norm(latent[:, :RANK], weight, 1e-6), latent[:, RANK:]], -1).bfloat16()
    assert torch.allclose(page[49].float(), own[0].float(), rtol=1e-2, atol=1e-3)
    queries = (token @ query.values(torch.float32).t()).view(1, HEADS, -1).transpose(0, 1)
    o, _ = mla.attend_latents(mla.absorb(queries, up, NOPE), page.float(), RANK, SCALE)
    expected = x + (mla.unabsorb(o, up, NOPE).flatten() @ output.values(torch.float32).t())
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-3, atol=1e-3)
