"""4-, 6- and 8-bit groups: the error stays within half a step, the packing is exact, and bad shapes are named."""

import pytest
import torch

from model.quantize import quantize, round_trip


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_error_is_at_most_about_half_a_step(bits: int) -> None:
    weight = torch.randn(24, 128, generator=torch.Generator().manual_seed(bits))
    back = quantize(weight, bits, 64).values(torch.float32)
    groups = weight.unflatten(1, (-1, 64))
    step = (groups.amax(-1) - groups.amin(-1)) / (2**bits - 1)
    # The zero is rounded to bf16 (8 bits of mantissa), which costs at most 1/256 of the largest value.
    allowed = 0.55 * step + groups.abs().amax(-1) / 256 * 2
    assert ((weight - back).unflatten(1, (-1, 64)).abs().amax(-1) <= allowed).all()


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_round_trip_is_what_storing_does(bits: int) -> None:
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(round_trip(weight, bits), quantize(weight, bits).values(torch.float32))


def test_two_values_a_byte_low_nibble_first() -> None:
    weight = torch.arange(64.0).remainder(16).repeat(2, 1)
    packed = quantize(weight, 4, 64)
    assert packed.q.dtype == torch.uint8
    assert packed.q.shape == (2, 32)
    assert packed.q[0, 0] == 0 + (1 << 4)
    assert torch.equal(packed.values(torch.float32), weight)


def test_four_levels_of_six_bits_in_three_bytes() -> None:
    weight = torch.arange(128.0).remainder(64).view(2, 64)
    packed = quantize(weight, 6, 64)
    assert packed.q.shape == (2, 48)
    assert packed.q[0, -3:].tolist() == [60 | (3 << 6), 61 | (3 << 6), 62 | (3 << 6)]  # and 63 above them
    assert torch.equal(packed.values(torch.float32), weight)
    wide = packed.in_bytes()
    assert wide.bits == 8
    assert torch.equal(wide.q.float(), weight)
    assert torch.equal(wide.values(torch.float32), weight)
    assert quantize(weight, 4, 64).in_bytes().bits == 4


def test_a_constant_group_survives() -> None:
    weight = torch.full((2, 64), 0.5)
    assert torch.equal(quantize(weight, 4).values(torch.float32), weight)


@pytest.mark.parametrize(("shape", "bits"), [((4, 60), 4), ((4,), 4), ((4, 64), 3)])
def test_what_cannot_be_stored_is_refused(shape: tuple[int, ...], bits: int) -> None:
    with pytest.raises(ValueError, match="cannot quantise"):
        quantize(torch.zeros(shape), bits, 64)
