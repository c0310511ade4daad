"""Grouped experts with their warps told apart: off a GPU its lines run on PyTorch tensors, of a small model's shape."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import moe_grouped_gluon_triton, moe_grouped_triton, moe_sums_gluon_triton, quant
from tests.kernels.device import DEVICE, ON_GPU
from tests.kernels.experts import Mixture, draw
from tests.kernels.gluon_on_torch_triton import stand_in
from tests.kernels.test_moe_grouped_triton import error, fp8_exact

WIDTH, INNER = (2304, 1024) if ON_GPU else (256, 128)
OWN_FP8 = 2e-2 if ON_GPU else 4e-3
"""`test_moe_grouped_triton`'s bound; PyTorch adds up in float32, and results are bfloat16."""

UNEVEN = [0, 1, 63, 64, 65, 127, 128, 129, 5000 if ON_GPU else 200, 0]
"""Rows of each expert."""


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel in Gluon, on whatever device, for however few tokens."""
    monkeypatch.setattr(moe_grouped_triton, "LONG", 1)
    if not ON_GPU:
        stand_in(monkeypatch, moe_grouped_gluon_triton, moe_sums_gluon_triton)
        monkeypatch.setattr(moe_grouped_gluon_triton, "silu", F.silu)  # it is assembly
        monkeypatch.setattr(moe_grouped_triton, "generation", lambda device: 9)
        monkeypatch.setattr(moe_grouped_gluon_triton, "WIDTH", WIDTH)
        monkeypatch.setattr(moe_grouped_gluon_triton, "INNER", INNER)


def mixture(inputs: Mixture) -> Tensor:
    """Triton's form, every new tensor poisoned with NaN."""
    assert moe_grouped_gluon_triton.fits(inputs.x, inputs.gate_up, inputs.down, inputs.shared)
    torch.use_deterministic_algorithms(True)
    try:
        return moe_grouped_triton.mixture(*inputs.arguments())
    finally:
        torch.use_deterministic_algorithms(False)


def check(inputs: Mixture) -> Tensor:
    """Two runs agree, and are near what the weights stand for."""
    found = mixture(inputs)
    assert torch.equal(mixture(inputs), found)
    if isinstance(inputs.down, Tensor):
        assert error(found, inputs.exact()) <= 1e-2
    else:
        assert error(found, fp8_exact(inputs)) <= OWN_FP8
        assert error(found, inputs.exact()) <= 0.06  # two roundings of activations to 3 bits
    return found


def uneven(form: str) -> Mixture:
    """Experts with UNEVEN rows, of tokens in a random order."""
    experts = torch.repeat_interleave(torch.tensor(UNEVEN, device=DEVICE))
    experts = experts[torch.randperm(len(experts), generator=torch.Generator(DEVICE).manual_seed(0), device=DEVICE)]
    chosen = experts[: len(experts) // 2 * 2].view(-1, 2)
    inputs = draw(len(chosen), len(UNEVEN), 2, WIDTH, INNER, 1, form, torch.bfloat16)
    return replace(inputs, chosen=chosen)


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("form", ["bf16", "fp8"])
@pytest.mark.parametrize("shape", [(4097, 32, 8), (65, 32, 8)] if ON_GPU else [(70, 3, 2), (1, 2, 1)], ids=str)
def test_the_mixture_is_what_its_weights_stand_for(shape: tuple[int, int, int], form: str) -> None:
    check(draw(*shape, WIDTH, INNER, 1, form, torch.bfloat16))


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("form", ["bf16", "fp8"])
def test_experts_with_no_row_with_one_and_with_many(form: str) -> None:
    check(uneven(form))


if ON_GPU:

    @pytest.mark.usefixtures("named")
    def test_in_bf16_every_bit_is_the_plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
        inputs = draw(4097, 32, 8, WIDTH, INNER, 1, "bf16", torch.bfloat16)
        found = mixture(inputs)
        monkeypatch.setattr(moe_grouped_triton, "LONG", len(inputs.x) + 1)
        assert torch.equal(moe_grouped_triton.mixture(*inputs.arguments()), found)


@pytest.mark.usefixtures("named")
def test_zeros_and_scales_far_apart_in_fp8() -> None:
    inputs = draw(70, 3, 2, WIDTH, INNER, 1, "bf16", torch.bfloat16)
    x, gate_up = inputs.x.clone(), inputs.gate_up.clone()  # type: ignore[union-attr]
    x[:20, :128], x[20:40, -128:], x[40:50] = 0, 0, 0
    x[50:60, :128] *= 1e-6
    x[60:, -128:] *= 1e-6
    gate_up[0, :128, :128], gate_up[1, :, -128:], gate_up[2] = 0, 0, 0
    gates, downs = quant.to_fp8(gate_up), quant.to_fp8(inputs.down)  # type: ignore[arg-type]
    shared = (quant.to_fp8(inputs.shared[0]), quant.to_fp8(inputs.shared[1]))  # type: ignore[arg-type]
    check(replace(inputs, x=x, gate_up=gates, down=downs, shared=shared))


def test_it_takes_only_the_shapes_it_is_made_for() -> None:
    for form, width, dtype, fits in [
        ("bf16", 2304, torch.bfloat16, True),
        ("fp8", 2304, torch.bfloat16, True),
        ("int4", 2304, torch.bfloat16, False),
        ("bf16", 256, torch.bfloat16, False),
        ("bf16", 2304, torch.float32, False),
    ]:
        inputs = draw(2, 1, 1, width, 1024, 1, form, dtype)
        assert moe_grouped_gluon_triton.fits(inputs.x, inputs.gate_up, inputs.down, inputs.shared) == fits
