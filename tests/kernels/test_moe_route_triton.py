"""The router in Triton against `moe.route`, and the sort against PyTorch's stable one."""

import pytest
import torch

from kernels import moe
from kernels.moe_route_triton import FEW, add_norm_route, route, sort
from tests.kernels.device import DEVICE, ON_GPU


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator(DEVICE).manual_seed(seed), device=DEVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("renormalize", [False, True])
@pytest.mark.parametrize(
    ("tokens", "experts", "top_k", "width"),
    [(1, 256, 8, 130), (16, 8, 4, 64), (70, 256, 8, 96), (17, 6, 2, 32), (FEW + 8, 8, 2, 32),
     *([(32, 256, 8, 2304), (8192, 256, 8, 2304)] if ON_GPU else [])],
)
def test_each_token_gets_its_experts_and_weights(
    tokens: int, experts: int, top_k: int, width: int, renormalize: bool, dtype: torch.dtype
) -> None:
    x, weight, bias = draw(tokens, width).to(dtype), draw(experts, width, seed=1).to(dtype), draw(experts, seed=2)
    weight = (weight * width**-0.5).to(dtype)
    weights, chosen = route(x, weight, bias, top_k, renormalize, 2.446)
    exact_weights, exact = moe.route(x.double(), weight.double(), bias, top_k, renormalize, 2.446)
    ours, theirs = chosen.argsort(1), exact.argsort(1)
    same = (chosen.gather(1, ours) == exact.gather(1, theirs)).all(1)
    assert same.float().mean() >= (0.999 if ON_GPU else 1.0)  # of a million scores some lie a rounding apart
    found, expected = weights.gather(1, ours)[same], exact_weights.gather(1, theirs)[same]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (chosen.dtype, weights.dtype) == (torch.int64, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("tokens", "width"), [(1, 300), (3, 2304 if ON_GPU else 96)])
def test_a_sum_is_normed_and_routed_at_once(tokens: int, width: int, dtype: torch.dtype) -> None:
    x, delta = (draw(tokens, width, seed=seed).to(dtype) for seed in (0, 1))
    scale = draw(width, seed=2).to(dtype)
    weight, bias = (draw(20, width, seed=3) * width**-0.5).to(dtype), draw(20, seed=4)
    total, given, weights, chosen = add_norm_route(x, delta, scale, 1e-5, weight, bias, 4, True, 2.446)
    assert torch.equal(total, x + delta)
    exact_given = total.double() * (total.double().square().mean(-1, keepdim=True) + 1e-5).rsqrt() * scale.double()
    torch.testing.assert_close(given, exact_given.to(dtype), rtol=1e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-5)
    exact_weights, exact = route(given, weight, bias, 4, True, 2.446)
    assert torch.equal(chosen, exact)
    torch.testing.assert_close(weights, exact_weights, rtol=1e-5, atol=1e-6)


def test_of_equal_scores_the_first_is_taken() -> None:
    x, weight = draw(3, 16), draw(1, 16, seed=1).expand(9, 16).contiguous()
    _, chosen = route(x, weight, torch.zeros(9, device=DEVICE), 3, True, 1.0)
    assert chosen.tolist() == [[0, 1, 2]] * 3


@pytest.mark.parametrize(
    ("tokens", "experts", "top_k", "rows"),
    [(1, 6, 2, 16), (33, 256, 8, 16), (200, 8, 4, 128), *([(32768, 256, 8, 128)] if ON_GPU else [(600, 3, 1, 64)])],
)
def test_pairs_are_sorted_stably_and_cut_into_tiles_of_one_expert(
    tokens: int, experts: int, top_k: int, rows: int
) -> None:
    random = torch.Generator(DEVICE).manual_seed(tokens)
    likely = torch.rand(tokens, experts, generator=random, device=DEVICE) ** 3  # some experts have no token
    chosen = likely.topk(top_k).indices
    order = sort(chosen, experts, rows)
    flat = chosen.flatten()
    expected = flat.argsort(stable=True)
    assert torch.equal(order.pair.long(), expected)
    assert torch.equal(order.pair[order.place.long()].long(), torch.arange(flat.numel(), device=DEVICE))
    assert torch.equal(order.counts.long(), torch.bincount(flat, minlength=experts))
    covered = []
    tiles = torch.stack([order.tile_expert, order.tile_start, order.tile_end], 1)
    for expert, start, end in tiles.tolist():
        own = range(start, min(start + rows, end))
        assert all(flat[order.pair[place]] == expert for place in (own[:1] or ()))
        covered += own
    assert covered == list(range(flat.numel()))


@pytest.mark.parametrize(("tokens", "experts", "top_k"), [(1, 6, 2), (33, 9, 3), (300, 4, 2)])
def test_experts_places_may_lie_apart_behind_a_group_of_everyone(tokens: int, experts: int, top_k: int) -> None:
    random = torch.Generator(DEVICE).manual_seed(tokens)
    chosen = (torch.rand(tokens, experts, generator=random, device=DEVICE) ** 3).topk(top_k).indices
    order = sort(chosen, experts, 32, apart=16, everyone=tokens)
    flat = chosen.flatten()
    assert torch.equal(order.pair[order.place.long()].long(), torch.arange(flat.numel(), device=DEVICE))
    covered: list[tuple[int, int]] = []
    for expert, start, end in torch.stack([order.tile_expert, order.tile_start, order.tile_end], 1).tolist():
        assert start % 16 == 0
        covered += [(place, expert) for place in range(start, min(start + 32, end))]
    theirs = sorted(zip(order.place.tolist(), flat.tolist(), strict=True))
    assert covered == [(place, experts) for place in range(tokens)] + theirs
    assert len({place for place, _ in covered}) == len(covered)
    assert order.pair.numel() >= max(place for place, _ in covered) // 16 * 16 + 16
