"""Fixtures that more than one room's tests use."""

import os
from pathlib import Path

# The models of the tests are tiny: on a busy machine several threads wait for one another longer than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

from model.engine import Engine
from tests import checkpoints
from tests.kernels import device as _before_triton_is_imported  # noqa: F401 - it chooses GPU or interpreter

# Timing differs between machines and is no property of the code; examples are the same in every run.
settings.register_profile("onceread", deadline=None, max_examples=20, derandomize=True)
settings.load_profile("onceread")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real-format checkpoint of five tiny layers with a byte-level tokenizer; not to be written to."""
    return checkpoints.write(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="session")
def tiny_engine(tiny_checkpoint: Path) -> Engine:
    """The engine of `tiny_checkpoint`, in float32."""
    return Engine.load(tiny_checkpoint, dtype=torch.float32)
