"""8 bits a number: rounding once is rounding for good, and what is rounded comes back to the bit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from storage import mxint8

DTYPES = st.sampled_from([torch.bfloat16, torch.float16, torch.float32])


def _bits(x: torch.Tensor) -> bytes:
    return x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _numbers(rows: int, width: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Numbers of many sizes, some of them zero, and one row of the smallest ones."""
    generator = torch.Generator().manual_seed(seed)
    sizes = 10 ** torch.empty(rows, 1).uniform_(-6, 4, generator=generator)
    x = torch.randn(rows, width, generator=generator) * sizes
    x[torch.rand(rows, width, generator=generator) < 0.1] = -0.0
    x[-1] = torch.finfo(dtype).smallest_normal / 4
    return x.to(dtype)


@given(DTYPES, st.integers(1, 5), st.integers(1, 50), st.integers(0, 2**31))
def test_rounded_once_it_is_rounded_and_comes_back(dtype: torch.dtype, rows: int, width: int, seed: int) -> None:
    x = mxint8.rounded(_numbers(rows, width, dtype, seed))
    assert (x.dtype, x.shape) == (dtype, (rows, width))
    assert _bits(mxint8.rounded(x)) == _bits(x)
    packed = mxint8.pack(x)
    assert packed is not None
    assert len(packed) == rows * mxint8.packed_bytes(width)
    back = mxint8.unpack(packed, dtype, [rows, width])
    assert back is not None
    assert _bits(back) == _bits(x)


@given(DTYPES, st.integers(0, 2**31))
def test_it_is_off_by_a_128th_of_the_largest_neighbour_at_most(dtype: torch.dtype, seed: int) -> None:
    x = _numbers(4, 3 * mxint8.BLOCK, dtype, seed)[:-1]
    blocks = x.double().unflatten(-1, (-1, mxint8.BLOCK))
    off = (mxint8.rounded(x).double().unflatten(-1, (-1, mxint8.BLOCK)) - blocks).abs().amax(-1)
    assert (off <= blocks.abs().amax(-1) / 128).all()


def test_what_is_not_rounded_is_not_packed() -> None:
    x = torch.randn(4, 20, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert mxint8.pack(x) is None
    assert mxint8.pack(torch.ones(3, dtype=torch.int8)) is None
    assert mxint8.pack(torch.tensor(1.0)) is None
    assert mxint8.pack(torch.empty(0, 16)) is None


@pytest.mark.parametrize("odd", [float("inf"), float("-inf"), float("nan")])
def test_what_is_no_number_stays_and_is_seen(odd: float) -> None:
    x = torch.ones(2, 32)
    x[1, 20] = odd
    rounded = mxint8.rounded(x)
    assert torch.equal(rounded.isfinite(), x.isfinite())
    assert torch.equal(rounded[0], x[0])
    assert mxint8.pack(rounded) is None


@pytest.mark.parametrize("length", [0, 33, 35, 68])
def test_another_length_is_none_of_such_a_tensor(length: int) -> None:
    assert mxint8.unpack(torch.zeros(length, dtype=torch.uint8), torch.float32, [2, 16]) is None
