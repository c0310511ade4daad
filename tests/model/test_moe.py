"""The MoE layer on its Triton kernels says what it says on the references, for one token, a handful and many."""

import pytest
import torch

from kernels import quant
from kernels.quant import Form
from model.config import KimiConfig
from model.moe import MoE
from tests import checkpoints
from tests.kernels.device import DEVICE, ON_GPU

if not ON_GPU:
    from tests.kernels.interpreter_triton import faithful_bfloat16

    faithful_bfloat16()


@pytest.fixture(scope="module")
def layer() -> MoE:
    """Random weights of unit scale, experts 16 wide, a shared one of 32."""
    layer = MoE(KimiConfig.from_keys(checkpoints.CONFIG | {"num_shared_experts": 2})).to(DEVICE)
    random = torch.Generator(DEVICE).manual_seed(0)
    for parameter in layer.parameters():
        noise = torch.randn(parameter.shape, generator=random, device=DEVICE)
        parameter.data = noise * parameter.shape[-1] ** -0.5
    return layer.requires_grad_(False)


@pytest.mark.parametrize("tokens", [1, 5, 33, 64, 65, 200])
def test_triton_is_the_reference(layer: MoE, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(tokens, 32, generator=torch.Generator(DEVICE).manual_seed(tokens), device=DEVICE)
    monkeypatch.setenv("ONCEREAD_KERNELS", "reference")
    expected = layer(x)
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    assert (layer(x) - expected).norm() <= 1e-3 * expected.norm()


@pytest.mark.parametrize(("form", "apart"), [("int4", 1e-3), ("fp8", 0.05)])  # many tokens meet fp8 weights in fp8 too
@pytest.mark.parametrize("tokens", [1, 5, 20, 40])
def test_so_it_does_with_quantised_experts(
    form: Form, apart: float, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = KimiConfig.from_keys(checkpoints.CONFIG | {"hidden_size": 128, "moe_intermediate_size": 128})
    random = torch.Generator(DEVICE).manual_seed(0)
    with DEVICE:
        layer = MoE(config, form).requires_grad_(False)
    for place in (*layer.parameters(), layer.gate_up, layer.down, layer.shared.gate_up, layer.shared.down):
        noise = torch.randn(quant.shape(place), generator=random, device=DEVICE)
        quant.store(place, noise * noise.shape[-1] ** -0.5)
    x = torch.randn(tokens, 128, generator=random, device=DEVICE)
    monkeypatch.setenv("ONCEREAD_KERNELS", "reference")
    expected = layer(x)
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    assert (layer(x) - expected).norm() <= apart * expected.norm()
