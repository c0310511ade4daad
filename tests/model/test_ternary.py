"""Matrices of three values: what is stored comes back, and products of whole numbers are the float ones."""

import pytest
import torch
import torch.nn.functional as F

from model import ternary


@pytest.mark.parametrize("columns", [64, 65, 3072])
def test_what_is_packed_comes_back(columns: int) -> None:
    weight = torch.randn(48, columns, generator=torch.Generator().manual_seed(1))
    stored = ternary.pack(weight)
    assert stored.packed.shape == (48, -(-columns // 5))
    assert stored.packed.dtype == torch.uint8
    signs, _ = ternary.split(weight)
    assert set(signs.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert torch.equal(stored.signs(columns).float(), signs)
    assert torch.equal(stored.signs(columns).float() * stored.scale.float()[:, None], ternary.round_trip(weight))
    for odd, wanted in [(stored, columns + 5), (ternary.Ternary(stored.packed.int(), stored.scale), columns),
                        (ternary.Ternary(stored.packed, stored.scale[:, None]), columns)]:
        with pytest.raises(ValueError, match="columns"):
            odd.signs(wanted)


def test_small_numbers_become_nothing_and_the_others_their_mean_size() -> None:
    signs, scale = ternary.split(torch.tensor([[4.0, -2.0, 0.1, -0.1], [0.0, 0.0, 0.0, 0.0]]))
    assert signs.tolist() == [[1.0, -1.0, 0.0, 0.0], [0.0] * 4]
    assert scale.tolist() == [[3.0], [0.0]]


def test_what_is_rounded_already_stays() -> None:
    once = ternary.round_trip(torch.randn(16, 80, generator=torch.Generator().manual_seed(2)))
    torch.testing.assert_close(ternary.round_trip(once), once, rtol=1e-2, atol=0)


def _layer() -> tuple[ternary.TernaryLinear, torch.Tensor]:
    """One of 160 to 96 numbers, and its weight before it was rounded."""
    source = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(96, 160, generator=source), torch.randn(96, generator=source)
    layer, stored = ternary.TernaryLinear(160, 96), ternary.pack(weight)
    layer.signs.copy_(stored.signs(160))
    layer.scale.copy_(stored.scale)
    layer.bias.data.copy_(bias)
    return layer, weight


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_computes_what_its_rounded_numbers_give(rows: int, dtype: torch.dtype) -> None:
    layer, weight = _layer()
    x = torch.randn(rows, 160, generator=torch.Generator().manual_seed(4)).to(dtype)
    before = x.clone()
    whole, scale = ternary.in_bytes(x)
    assert whole.abs().max() == 127
    torch.testing.assert_close(whole * scale, x.float(), rtol=0, atol=float(scale.max()) * 0.51)
    expected = F.linear(whole * scale, ternary.round_trip(weight), layer.bias)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(layer(x).float(), expected, rtol=tolerance, atol=10 * tolerance)
    assert layer(x).dtype == dtype
    assert torch.equal(x, before)


def test_where_bytes_are_not_fast_it_computes_the_same_of_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, _ = _layer()
    x = torch.randn(9, 160, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr(ternary, "IN_BYTES", True)
    expected = layer(x)
    monkeypatch.setattr(ternary, "IN_BYTES", False)
    monkeypatch.setattr(torch, "_int_mm", None)
    assert torch.equal(layer(x), expected)
