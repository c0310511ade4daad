"""The MoE layer on its Triton kernels says what it says on the references, for one token, a handful and many."""

import pytest
import torch

from model.config import _from_hugging_face
from model.moe import MoE
from tests import checkpoints
from tests.kernels.device import DEVICE


@pytest.fixture(scope="module")
def layer() -> MoE:
    """Random weights of unit scale, experts 16 wide, a shared one of 32."""
    layer = MoE(_from_hugging_face(checkpoints.CONFIG | {"num_shared_experts": 2})).to(DEVICE)
    random = torch.Generator(DEVICE).manual_seed(0)
    for parameter in layer.parameters():
        noise = torch.randn(parameter.shape, generator=random, device=DEVICE)
        parameter.data = noise * parameter.shape[-1] ** -0.5
    return layer.requires_grad_(False)


@pytest.mark.parametrize("tokens", [1, 5, 16, 17, 200])
def test_triton_is_the_reference(layer: MoE, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(tokens, 32, generator=torch.Generator(DEVICE).manual_seed(tokens), device=DEVICE)
    monkeypatch.setenv("ONCEREAD_KERNELS", "reference")
    expected = layer(x)
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    assert (layer(x) - expected).norm() <= 1e-3 * expected.norm()
