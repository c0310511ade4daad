"""The short convolution: each output against its definition, and the tail that joins two readings."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kernels import conv


def draw(tokens: int, channels: int, taps: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Random (x, weight, tail)."""
    random = torch.Generator().manual_seed(seed)
    shapes = [(tokens, channels), (channels, taps), (taps - 1, channels)]
    x, weight, tail = (torch.randn(shape, generator=random) for shape in shapes)
    return x, weight, tail


@given(tokens=st.integers(1, 40), channels=st.integers(1, 7), taps=st.integers(1, 5))
def test_each_output_weighs_the_inputs_up_to_its_token(tokens: int, channels: int, taps: int) -> None:
    x, weight, tail = draw(tokens, channels, taps)
    y, after = conv.short_conv(x, weight, tail)
    seen = torch.cat([tail, x]).double()
    for t in range(tokens):
        total = sum(seen[t + w] * weight[:, w].double() for w in range(taps))
        assert isinstance(total, Tensor)
        torch.testing.assert_close(y[t].double(), total * torch.sigmoid(total), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(after.double(), seen[tokens:], rtol=0, atol=0)


@given(tokens=st.integers(2, 60), taps=st.integers(1, 5), data=st.data())
def test_a_carried_tail_continues_as_one_pass(tokens: int, taps: int, data: st.DataObject) -> None:
    x, weight, tail = draw(tokens, 6, taps, seed=tokens)
    cuts = sorted(data.draw(st.sets(st.integers(1, tokens - 1), max_size=5)))
    whole, end = conv.short_conv(x, weight, tail)
    parts = []
    for piece in x.tensor_split(cuts):
        part, tail = conv.short_conv(piece, weight, tail)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-6)
    assert torch.equal(tail, end)


def test_the_tail_is_a_copy() -> None:
    x, weight, tail = draw(9, 4, 4)
    _, after = conv.short_conv(x, weight, tail)
    kept = after.clone()
    x.zero_()
    assert torch.equal(after, kept)


def test_dtype_is_kept_and_half_precision_is_near_float32() -> None:
    x, weight, tail = (a.bfloat16() for a in draw(33, 5, 4))
    y, after = conv.short_conv(x, weight, tail)
    assert y.dtype == after.dtype == torch.bfloat16
    exact, _ = conv.short_conv(x.float(), weight.float(), tail.float())
    torch.testing.assert_close(y.float(), exact, rtol=2e-2, atol=2e-2)
