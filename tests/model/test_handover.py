"""What is handed over stays as it was, whatever the state reads meanwhile; on a GPU it is on the host."""

import pytest
import torch

from model import engine as module
from model import state
from model.engine import Engine
from model.handover import Handover
from tests.kernels.device import ON_GPU
from tests.model.test_batch import ids
from tests.model.test_engine import kept, same

CHUNK, PAGE = 32, 13


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks and pages in few tokens."""
    monkeypatch.setattr(module, "CHUNK", CHUNK)
    monkeypatch.setattr(state, "PAGE", PAGE)


def test_reading_goes_on_beside_what_was_handed_over(tiny_engine: Engine) -> None:
    handed, expected = [], []
    for after in tiny_engine.read_chunks(tiny_engine.empty(), ids(3 * CHUNK + 5)):
        handed.append(Handover(after, handed[-1].tokens if handed else 0))
        expected.append(kept(after))
    assert [each.tokens for each in handed] == [CHUNK, 2 * CHUNK, 3 * CHUNK, 3 * CHUNK + 5]
    assert all(same(each.to_tensors(), was) for each, was in zip(handed, expected, strict=True))


@pytest.mark.skipif(not ON_GPU, reason="copies to the host need a GPU")
def test_a_gpus_tensors_come_to_the_host_but_for_pages_saved_before() -> None:
    rows = torch.randn(3 * PAGE, 8, device="cuda")
    latents = state.MLAState(8, rows.dtype, rows.device)
    latents.append(rows)
    after = Handover(state.ModelState(3 * PAGE, [latents]), 2 * PAGE + 5).to_tensors()
    places = {name: tensor.device.type for name, tensor in after.items()}
    assert places == {"layers.0.latents.0": "cuda", "layers.0.latents.1": "cuda", "layers.0.latents.2": "cpu"}
    assert after["layers.0.latents.2"].is_pinned()
    assert torch.equal(torch.cat([tensor.cpu() for tensor in after.values()]), rows.cpu())
