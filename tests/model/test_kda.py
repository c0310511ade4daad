"""The KDA layer on its Triton kernels: what it computes on the references, over pieces of any length."""

from pathlib import Path

import pytest
import torch

from model import batch
from model.engine import Engine
from model.kda import KDA
from model.state import KDAState, ModelState
from model.transformer import Layer
from tests import checkpoints
from tests.kernels.device import DEVICE, ON_GPU

if not ON_GPU:
    from tests.kernels.interpreter_triton import faithful_bfloat16

    faithful_bfloat16()

HEADS = {**checkpoints.CONFIG["linear_attn_config"], "head_dim": 16}
"""A matrix product of a GPU has at least 16 rows."""


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def layer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[KDA, KDAState]:
    """A layer with weights of a checkpoint, and its state before the first token."""
    folder: Path = checkpoints.write(tmp_path_factory.mktemp("kda") / "checkpoint", linear_attn_config=HEADS)
    engine = Engine.load(folder, str(DEVICE), request.param)
    assert isinstance(engine.model.layers[0], Layer)
    kda, state = engine.model.layers[0].attention, engine.empty().layers[0]
    assert isinstance(kda, KDA)
    assert isinstance(state, KDAState)
    return kda, state


def test_it_is_the_layer_on_references(layer: tuple[KDA, KDAState], monkeypatch: pytest.MonkeyPatch) -> None:
    kda, empty = layer
    x = torch.randn(140, 32, generator=torch.Generator(DEVICE).manual_seed(0), device=DEVICE).to(kda.output.dtype)
    bound = 1e-5 if x.dtype == torch.float32 else 2e-2

    def outputs() -> tuple[torch.Tensor, KDAState]:
        """Two chunks and a bit, two tokens, three single ones, and a chunk again."""
        state = KDAState(empty.conv, empty.recurrent)
        return torch.cat([kda(piece, state) for piece in x.split([131, 2, 1, 1, 1, 4])]), state

    monkeypatch.setenv("ONCEREAD_KERNELS", "reference")
    expected, end = outputs()
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    found, ours = outputs()
    assert found.dtype == expected.dtype
    assert (found - expected).norm() <= bound * expected.norm()
    assert (ours.recurrent - end.recurrent).norm() <= bound * end.recurrent.norm()
    torch.testing.assert_close(ours.conv, end.conv)


def test_rows_side_by_side_are_the_layer_on_each(
    layer: tuple[KDA, KDAState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    kda, empty = layer
    x = torch.randn(3, 32, generator=torch.Generator(DEVICE).manual_seed(1), device=DEVICE).to(kda.output.dtype)
    states = [KDAState(empty.conv + n, empty.recurrent + n) for n in range(3)]
    rows = batch.KDARows(torch.stack([s.conv for s in states]), torch.stack([s.recurrent for s in states]))
    found = batch._kda(kda, x, rows)
    for n, state in enumerate(states):
        torch.testing.assert_close(found[n], kda(x[n : n + 1], state)[0], rtol=2e-2, atol=2e-2)
        torch.testing.assert_close(rows.recurrent[n], state.recurrent, rtol=2e-2, atol=2e-2)
        torch.testing.assert_close(rows.conv[n], state.conv, rtol=2e-2, atol=2e-2)


def test_a_fork_keeps_what_it_knew(layer: tuple[KDA, KDAState], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    kda, state = layer
    kept = ModelState(0, [state]).fork().layers[0]
    assert isinstance(kept, KDAState)
    before = kept.conv.clone(), kept.recurrent.clone()
    mine = KDAState(state.conv, state.recurrent)
    for tokens in (70, 1, 1):
        kda(torch.ones(tokens, 32, device=DEVICE, dtype=kda.output.dtype), mine)
    assert torch.equal(kept.conv, before[0])
    assert torch.equal(kept.recurrent, before[1])
    assert not torch.equal(mine.recurrent, before[1])
