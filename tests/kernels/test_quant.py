"""Quantised weights: what comes back is near, each part where it belongs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels import quant


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(rows=st.integers(1, 300), columns=st.integers(1, 300), size=st.sampled_from([1e-3, 1.0, 1e3]))
def test_fp8_keeps_three_bits_of_every_block(rows: int, columns: int, size: float) -> None:
    weight = size * randn(2, rows, columns)
    packed = quant.to_fp8(weight)
    assert packed.values.dtype == torch.float8_e4m3fn
    assert quant.shape(packed) == weight.shape
    back = quant.dequantize(packed, torch.float32)
    top = weight.abs().amax()
    assert ((back - weight).abs() <= 2**-4 * weight.abs() + 2**-10 * top / 448 + 1e-12).all()


def test_a_small_block_beside_a_large_one_keeps_its_own_scale() -> None:
    weight = torch.cat([randn(128, 128), 1e-4 * randn(128, 128, seed=1)], 1)
    small = quant.dequantize(quant.to_fp8(weight), torch.float32)[:, 128:]
    assert (small - weight[:, 128:]).norm() <= 0.04 * weight[:, 128:].norm()


@given(tokens=st.integers(1, 5), width=st.integers(1, 300))
def test_rows_get_a_scale_for_each_128_numbers(tokens: int, width: int) -> None:
    x = randn(tokens, width) * torch.logspace(-3, 3, width)
    values, scale = quant.rows_to_fp8(x)
    back = values.float() * scale.repeat_interleave(128, -1)[:, :width]
    assert ((back - x).abs() <= 2**-4 * x.abs() + 2**-10 * x.abs().amax(-1, keepdim=True)).all()


@given(rows=st.integers(1, 9), blocks=st.integers(1, 4))
def test_int4_is_the_grid_mini_is_stored_on(rows: int, blocks: int) -> None:
    from model import quantize

    weight = randn(rows, 128 * blocks, seed=rows)
    packed = quant.to_int4(weight)
    assert packed.packed.numel() * 2 == weight.numel()
    assert quant.shape(packed) == weight.shape
    assert torch.equal(quant.dequantize(packed, torch.float32), quantize.round_trip(weight, 4))


def test_int4_packs_a_column_with_the_one_a_group_on() -> None:
    weight = torch.arange(128.0)[None] % 16
    packed = quant.to_int4(weight).packed
    assert (packed & 15).tolist() == [[n % 16 for n in range(64)]]
    assert (packed >> 4).tolist() == [[n % 16 for n in range(64)]]
    with pytest.raises(ValueError, match="multiple of 128"):
        quant.to_int4(randn(2, 192))


def test_plain_weights_pass_through() -> None:
    weight = randn(3, 4)
    assert quant.dequantize(weight) is weight


@pytest.mark.parametrize("form", quant.FORMS)
def test_stored_part_by_part_is_quantised_as_a_whole(form: quant.Form) -> None:
    weight = randn(2, 256, 384)
    place = quant.empty(form, 2, 256, 384)
    assert quant.shape(place) == weight.shape
    for n in range(2):
        for half in range(2):
            part = quant.each(place, lambda x: x[n].chunk(2, -2)[half])  # noqa: B023 - called here
            quant.store(part, weight[n].chunk(2)[half])
    whole = {"bf16": lambda x: x, "fp8": quant.to_fp8, "int4": quant.to_int4}[form](weight)
    for stored, expected in zip(quant.parts(place), quant.parts(whole), strict=True):
        assert stored.dtype == expected.dtype
        assert torch.equal(stored.view(torch.uint8), expected.view(torch.uint8))


def test_there_is_no_room_for_odd_rows_in_4_bits() -> None:
    with pytest.raises(ValueError, match="no multiple of 128"):
        quant.empty("int4", 2, 192)
    assert quant.parts(quant.empty("fp8", 200, 192))[1].shape == (2, 2)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_stored_matrix_comes_back_whole_though_it_is_worked_on_in_blocks_of_rows(bits: int) -> None:
    rows, levels, scale, zero = 2 * quant.ROWS + 30, 2**bits, 0.5, -3.0
    whole = torch.randint(0, levels, (rows, 128), generator=torch.Generator().manual_seed(bits), dtype=torch.uint8)
    q = whole[:, 0::2] | (whole[:, 1::2] << 4) if bits == 4 else whole
    per_row = torch.arange(rows)[:, None].expand(-1, 2).bfloat16()
    grid = quant.Grid(q, torch.full((rows, 2), scale).bfloat16(), zero * per_row, bits)
    expected = (whole.float() * scale + grid.zero.float().repeat_interleave(64, 1)).bfloat16()
    assert torch.equal(grid.values(), expected)
    assert grid.values(torch.float32).dtype == torch.float32
