"""Numbers that Python has no type for, as Numba's kernels see them."""

import math
import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from kernels.numbers_numba import CACHE, exp, exp2, high, is_compiled, kernel, low, narrow, sigmoid, wide


@kernel
def _halves(byte):  # type: ignore[no-untyped-def]
    return low(byte), high(byte)


@kernel
def _stored(x, like):  # type: ignore[no-untyped-def]
    return narrow(x, like), wide(narrow(x, like))


@given(st.integers(0, 255))
def test_the_halves_of_a_byte(byte: int) -> None:
    assert _halves(np.uint8(byte)) == (byte % 16, byte // 16)


@given(st.floats(-(2.0**126), 2.0**126, width=32))
def test_a_number_is_stored_as_pytorch_rounds_it(x: float) -> None:
    bits, back = _stored(np.float32(x), np.uint16(0))
    rounded = torch.tensor(x).bfloat16()
    assert (bits, back) == (int(rounded.view(torch.uint16)), float(rounded))
    assert _stored(np.float32(x), np.float32(0)) == (np.float32(x), np.float32(x))


@given(st.floats(-126, 126, width=32))
def test_powers_are_right_to_float32s_precision(x: float) -> None:
    assert math.isclose(exp2(np.float32(x)), 2.0**x, rel_tol=5e-7)


def test_powers_end_at_what_a_float_holds() -> None:
    assert exp2(np.float32(-np.inf)) == exp2(np.float32(-500)) == np.float32(2.0**-126)
    assert exp2(np.float32(500)) == np.float32(2.0**126)


@given(st.floats(-80, 80, width=32))
def test_powers_of_e_and_the_sigmoid(x: float) -> None:
    assert math.isclose(exp(np.float32(x)), math.exp(x), rel_tol=1e-5)
    assert math.isclose(sigmoid(np.float32(x)), 1 / (1 + math.exp(-x)), rel_tol=1e-5)


def test_what_is_compiled_is_kept_for_these_sources_alone() -> None:
    exp2(np.float32(1))
    assert is_compiled()
    assert any(CACHE.rglob("numbers_numba.exp2*"))
    program = "from pathlib import Path; Path.read_bytes = lambda _: b'other'; " \
              "from kernels import numbers_numba as n; print(n.CACHE.name, n.is_compiled())"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert said[0] != CACHE.name
    assert said[1] == "False"
