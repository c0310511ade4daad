"""MLA: the fast attention is the formula, segments merge into the whole, absorbed queries see what expanded do."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kernels import mla

Extend = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def formula(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """Attention query by query, in float64."""
    q, k, v = q.double(), k.double(), v.double()
    heads, tokens, _ = q.shape
    out, lse = torch.empty(heads, tokens, v.shape[-1]).double(), torch.empty(heads, tokens).double()
    for h in range(heads):
        for t in range(tokens):
            seen = t + 1 if causal else k.shape[1]
            weights = (k[h, :seen] @ q[h, t] * scale).exp()
            out[h, t] = (weights[:, None] * v[h, :seen]).sum(0) / weights.sum()
            lse[h, t] = weights.sum().log()
    return out, lse


def check(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], tolerance: float = 1e-5) -> None:
    """Outputs and log-sum-exps agree."""
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=tolerance, atol=tolerance)


WIDTHS = st.integers(1, 20)


@given(tokens=st.integers(1, 70), keys=WIDTHS, values=WIDTHS, causal=st.booleans(), extra=st.integers(0, 90))
def test_attend_is_the_formula(tokens: int, keys: int, values: int, causal: bool, extra: int) -> None:
    past = tokens if causal else tokens + extra
    q, k, v = randn(2, tokens, keys), randn(2, past, keys, seed=1), randn(2, past, values, seed=2)
    expected = formula(q, k, v, keys**-0.5, causal)
    check(mla.attend(q, k, v, keys**-0.5, causal), expected)
    check(mla.attend_reference(q, k, v, keys**-0.5, causal), expected)


@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 257])
def test_attend_at_the_published_head_size(tokens: int) -> None:
    q, k, v = randn(2, tokens, 192), randn(2, tokens, 192, seed=1), randn(2, tokens, 128, seed=2)
    expected = mla.attend_reference(q.double(), k.double(), v.double(), 192**-0.5, True)
    check(mla.attend(q, k, v, 192**-0.5, True), expected)


def test_attend_in_bfloat16_is_near() -> None:
    q, k, v = (randn(2, 50, width, seed=width).bfloat16() for width in (12, 12, 8))
    found = mla.attend(q, k, v, 12**-0.5, True)
    assert (found[0].dtype, found[1].dtype) == (torch.bfloat16, torch.float32)
    check(found, formula(q, k, v, 12**-0.5, True), tolerance=3e-2)


def test_large_scores_stay_finite() -> None:
    q, k, v = 300 * randn(1, 40, 8), 300 * randn(1, 40, 8, seed=1), randn(1, 40, 8, seed=2)
    expected = mla.attend_reference(q.double(), k.double(), v.double(), 1.0, True)
    check(mla.attend(q, k, v, 1.0, True), expected, tolerance=1e-3)


@given(past=st.integers(2, 120), data=st.data(), size=st.sampled_from([0.1, 1.0, 10.0]))
def test_segments_merge_into_the_whole_however_they_are_cut(past: int, data: st.DataObject, size: float) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, past - 1), max_size=6)))
    q, k, v = size * randn(3, 5, 8), randn(3, past, 8, seed=1), randn(3, past, 6, seed=2)
    segments = list(zip(k.tensor_split(cuts, 1), v.tensor_split(cuts, 1), strict=True))
    order = data.draw(st.permutations(segments))
    joined = mla.attend(q, *order[0], 0.5, False)
    for segment in order[1:]:
        joined = mla.merge(*joined, *mla.attend(q, *segment, 0.5, False))
    check(joined, formula(q, k, v, 0.5, False))


@given(
    heads=st.integers(1, 4), tokens=st.integers(1, 12), past=st.integers(1, 60),
    rank=st.integers(1, 24), nope=st.integers(1, 9), shared=st.integers(0, 6), value=st.integers(1, 9),
)  # fmt: skip
def test_absorbed_is_expanded(
    heads: int, tokens: int, past: int, rank: int, nope: int, shared: int, value: int
) -> None:
    q, latents = randn(heads, tokens, nope + shared), randn(past, rank + shared, seed=1)
    up, scale = randn(heads, nope + value, rank, seed=2) * rank**-0.5, (nope + shared) ** -0.5
    k, v = mla.expand(latents, up, nope)
    expanded = mla.attend(q, k, v, scale, False)
    attended, lse = mla.attend_latents(mla.absorb(q, up, nope), latents, rank, scale)
    check((mla.unabsorb(attended, up, nope), lse), expanded, tolerance=1e-4)


def test_expand_gives_each_head_its_keys_its_values_and_the_shared_part() -> None:
    rank, nope, value = 5, 3, 2
    latents, up = randn(4, rank + 6), randn(2, nope + value, rank, seed=1)
    k, v = mla.expand(latents, up, nope)
    for h in range(2):
        for s in range(4):
            both = up[h] @ latents[s, :rank]
            torch.testing.assert_close(k[h, s], torch.cat([both[:nope], latents[s, rank:]]))
            torch.testing.assert_close(v[h, s], both[nope:])


@given(seen=st.lists(st.integers(1, 30), min_size=1, max_size=5), heads=st.integers(1, 4), rank=WIDTHS, shared=WIDTHS)
def test_rows_attend_to_what_they_have_seen(seen: list[int], heads: int, rank: int, shared: int) -> None:
    q = randn(heads, len(seen), rank + shared)
    latents = randn(len(seen), max(seen), rank + shared, seed=1)
    o, lse = mla.attend_rows(q, latents, torch.tensor(seen), rank, 0.3)
    for row, count in enumerate(seen):
        own = latents[row, :count].expand(heads, -1, -1)
        one = slice(row, row + 1)
        check((o[:, one], lse[:, one]), formula(q[:, one], own, own[..., :rank], 0.3, False))


@pytest.mark.parametrize("extend", [mla.extend, mla._extend_bfloat16])
@pytest.mark.parametrize("size", [0.3, 1.0, 6.0])  # with the last the new keys outweigh the old ones
@pytest.mark.parametrize("tokens", [1, 300])
def test_extending_in_bfloat16_is_attention_over_all_keys(
    extend: Extend, size: float, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mla, "WEIGHTS", 64 * 200)
    q, k, v = (randn(2, n, 16, seed=n).bfloat16() for n in (tokens, 240, 241))
    k[:, 40:] *= size
    v = v[:, :240]
    o, lse = mla.attend_reference(q, k[:, :40], v[:, :40], 0.25, False)
    found = extend(o.float(), lse, q, k[:, 40:], v[:, 40:], 0.25)
    expected = formula(q, k, v, 0.25, False)
    assert (found[0].double() - expected[0]).norm() < 1e-2 * expected[0].norm()
    torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("size", [0.3, 1.0, 6.0])  # with the last the later pages outweigh the first
@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("at_once", [64 * 8, 1 << 20])  # one page, all of them
def test_pages_in_bfloat16_are_attention_over_all_latents(
    at_once: int, tokens: int, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mla, "WEIGHTS", at_once)
    monkeypatch.setattr(mla, "_by_products", lambda q: True)
    heads, rank = 3, 12
    q, latents = randn(heads, tokens, 16).bfloat16(), randn(5 * 64 + 17, 16, seed=1).bfloat16()
    latents[64:] *= size
    found = mla.attend_pages(q, latents.split(64), rank, 0.25)
    keys = latents.expand(heads, -1, -1)
    expected = formula(q, keys, keys[..., :rank], 0.25, False)
    assert (found[0].double() - expected[0]).norm() < 1e-2 * expected[0].norm()
    torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-3, atol=1e-2)


def test_few_queries_meet_pages_together_and_many_each(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = randn(6 * 64, 16).bfloat16().split(64)
    met: list[int] = []
    monkeypatch.setattr(mla, "_by_products", lambda q: True)
    monkeypatch.setattr(mla, "_extend_at_once", lambda o, lse, q, some, *_: (met.append(len(some)), (o, lse))[1])
    monkeypatch.setattr(mla, "WEIGHTS", 64 * 2 * 4)  # four pages of one query of two heads
    for tokens in (1, 4):
        mla.attend_pages(randn(2, tokens, 16).bfloat16(), pages, 12, 0.25)
    assert met == [4, 1] + [1] * 5


def test_together_are_met_only_few_times_as_many_pages_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[int] = []
    monkeypatch.setattr(mla, "_by_products", lambda q: True)
    monkeypatch.setattr(mla, "_extend_at_once", lambda o, lse, q, some, *_: (met.append(len(some)), (o, lse))[1])
    q, pages = randn(2, 1, 16).bfloat16(), randn(40 * 64, 16).bfloat16().split(64)
    mla.extend_pages(q, q[..., 0], q, pages, 12, 0.25)
    mla.attend_pages(q, pages, 12, 0.25)
    assert met == [1, 4, 20, 15, 4, 20, 15]
