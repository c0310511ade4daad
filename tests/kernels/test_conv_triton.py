"""The convolution in Triton is the reference, for any length, view and tail."""

import pytest
import torch

from kernels import conv
from tests.kernels.device import DEVICE, ON_GPU

LENGTHS = [1, 2, 3, 4, 31, 32, 33, 70, 96] + ([4097, 131_072] if ON_GPU else [])


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize(("channels", "taps"), [(1536, 4)] if ON_GPU else [(150, 4), (128, 2)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_is_the_reference(
    tokens: int, channels: int, taps: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = torch.Generator(DEVICE).manual_seed(tokens)
    wide, weight, tail = (
        torch.randn(shape, generator=random, device=DEVICE).to(dtype)
        for shape in ((tokens, channels + 7), (channels, taps), (taps - 1, channels))
    )
    x = wide[:, 3 : channels + 3]  # a view, as the layer makes it
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    y, after = conv.short_conv(x, weight, tail)
    monkeypatch.setenv("ONCEREAD_KERNELS", "reference")
    exact, end = conv.short_conv(x.double(), weight.double(), tail.double())
    assert y.dtype == dtype
    assert float((y.double() - exact).norm() / exact.norm()) < (5e-3 if dtype == torch.bfloat16 else 1e-6)
    assert torch.equal(after.double(), end)
