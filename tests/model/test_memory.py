"""What fits: sizes are the model's own, and what does not fit is refused in one line with what to do."""

import pytest
import torch

from kernels.quant import FORMS
from model import memory
from model.config import KimiConfig
from model.errors import CheckpointError, ConfigError
from tests import checkpoints
from tests.bench import synthetic

CPU = torch.device("cpu")
BIG = KimiConfig.from_keys(synthetic.reduced())


def test_the_48b_in_each_form() -> None:
    gigabytes = [(memory.weights_bytes(BIG, torch.bfloat16, form) or 0) / 2**30 for form in FORMS]
    assert gigabytes == pytest.approx([91.5, 47.5, 28.2], abs=0.06)


def test_free_memory_of_this_machine_is_some_of_it() -> None:
    free = memory.free_bytes(CPU)
    assert 10e6 < free < 1e14


def test_sizes_are_those_of_a_filled_model() -> None:
    config, model = KimiConfig.from_keys(checkpoints.CONFIG), synthetic.model(checkpoints.CONFIG, torch.float32)
    assert memory.weights_bytes(config, torch.float32, "bf16") == sum(x.numel() * 4 for x in model.parameters())
    assert memory.weights_bytes(config, torch.float32, "fp8") is None


@pytest.mark.parametrize(("form", "free", "said"), [
    ("bf16", 60e9, r"^98\.2 GB of bf16 weights do not fit into the 60\.0 GB free on cpu: choose --weights fp8 "
                   r"\(51\.0 GB\) or int4 \(30\.3 GB\)$"),
    ("fp8", 40e9, r"choose --weights int4 \(30\.3 GB\)$"),
    ("int4", 24e9, "choose another device or a smaller model$"),
])  # fmt: skip
def test_what_does_not_fit_says_what_does(
    form: memory.Form, free: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _device: int(free))
    with pytest.raises(CheckpointError, match=said):
        memory.check(BIG, torch.bfloat16, CPU, form)
    monkeypatch.setattr(memory, "free_bytes", lambda _device: int(99e9))
    memory.check(BIG, torch.bfloat16, CPU, form)


def test_a_form_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="multiples of 128"):
        memory.check(KimiConfig.from_keys(checkpoints.CONFIG), torch.bfloat16, CPU, "int4")
