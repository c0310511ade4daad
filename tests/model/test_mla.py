"""The MLA layer on its Triton kernels: the whole tiny model says what it says on the references."""

from pathlib import Path

import pytest
import torch

from kernels import mla_prefill_triton
from model import mla, state
from model.engine import Engine
from tests import checkpoints
from tests.kernels.device import DEVICE

KINDER = {
    "v_head_dim": 8, "qk_rope_head_dim": 8,
    "linear_attn_config": {**checkpoints.CONFIG["linear_attn_config"], "head_dim": 16},
}  # fmt: skip
"""The tiny checkpoint's heads in multiples of 16 bytes, which the copy engine wants, and KDA's of 16 numbers."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The tiny model with heads that suit the kernels."""
    folder: Path = checkpoints.write(tmp_path_factory.mktemp("mla") / "checkpoint", **KINDER)
    return Engine.load(folder, str(DEVICE), torch.float32)


def test_the_whole_model_on_triton_is_the_model_on_references(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PAGE", 128)
    monkeypatch.setattr(mla_prefill_triton, "SEGMENT", 128)
    ids = [3 + n * n % 290 for n in range(330)]

    def logits() -> list[torch.Tensor]:
        """After a chunk, after one that expands its past, and after two that absorb it, one of a single token."""
        found, now = [], engine.empty()
        for start, end in [(0, 150), (150, 150 + mla.ABSORB_BELOW), (150 + mla.ABSORB_BELOW, 329), (329, 330)]:
            now, row = engine.next_logits(now, ids[start:end])
            found.append(row)
        return found

    monkeypatch.setenv("ONCEREAD_KERNELS", "reference")
    expected = logits()
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    for ours, theirs in zip(logits(), expected, strict=True):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()
