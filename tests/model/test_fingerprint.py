"""The fingerprint changes with anything that can change a bit of a state, and with nothing else."""

import json
import shutil
from itertools import product
from pathlib import Path

import pytest
import torch

from kernels.quant import FORMS, Form
from model import fingerprint as module
from model.errors import ModelError
from model.fingerprint import fingerprint

CPU = torch.device("cpu")


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint of our own to change."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))


def take(folder: Path) -> str:
    """The fingerprint on this processor in float32."""
    return fingerprint(folder, torch.float32, CPU)


def flip(file: Path, position: int) -> None:
    """Change one bit of a file."""
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def test_it_is_the_same_again_and_elsewhere(tiny_checkpoint: Path, folder: Path) -> None:
    assert take(folder) == take(folder) == take(tiny_checkpoint)
    assert len(take(folder)) == 32
    int(take(folder), 16)


@pytest.mark.parametrize("shard", [1, 2, 3])
@pytest.mark.parametrize("position", [8, 5000, -1])
def test_one_bit_of_any_shard_changes_it(folder: Path, shard: int, position: int) -> None:
    before = take(folder)
    flip(folder / f"model-0000{shard}-of-00003.safetensors", position)
    assert take(folder) != before


def test_the_configuration_changes_it(folder: Path) -> None:
    before, path = take(folder), folder / "config.json"
    raw = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(raw | {"routed_scaling_factor": 2.0}), "utf-8")
    assert take(folder) != before


def test_dtype_device_form_and_arithmetic_change_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {take(folder), fingerprint(folder, torch.bfloat16, CPU)}
    seen.add(fingerprint(folder, torch.float32, torch.device("cuda")))
    seen |= {fingerprint(folder, torch.float32, CPU, form) for form in ("bf16", "fp8", "int4")}
    with monkeypatch.context() as patch:
        patch.setattr(module.backend, "has_numba", lambda: False)
        seen.add(take(folder))
    monkeypatch.setitem(module.ARITHMETIC, "reference", "another")
    seen.add(take(folder))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    seen.add(take(folder))
    assert len(seen) == 8
    monkeypatch.setenv("ONCEREAD_KERNELS", "slow")
    with pytest.raises(ModelError, match="set it to reference or triton"):
        take(folder)


def test_another_arithmetic_of_experts_changes_their_form_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def every() -> dict[tuple[str, Form], str]:
        places = [(CPU, form) for form in FORMS] + [(torch.device("cuda"), form) for form in FORMS]
        return {(place.type, form): fingerprint(folder, torch.float32, place, form) for place, form in places}

    before = every()
    monkeypatch.setitem(module.EXPERTS, ("triton", "fp8"), "another")
    after = every()
    assert {name for name in before if before[name] != after[name]} == {("cuda", "fp8")}


def test_another_arithmetic_of_numbers_changes_their_type_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def every() -> dict[tuple[torch.dtype, str, Form], str]:
        kinds = product((torch.float32, torch.bfloat16), (CPU, torch.device("cuda")), FORMS)
        return {(dtype, place.type, form): fingerprint(folder, dtype, place, form) for dtype, place, form in kinds}

    before = every()
    monkeypatch.setitem(module.NUMBERS, ("reference", torch.float32), "another")
    after = every()
    assert {name for name in before if before[name] != after[name]} == {(torch.float32, "cpu", form) for form in FORMS}


def test_the_number_of_a_gpu_does_not_change_it(folder: Path) -> None:
    first, second = (fingerprint(folder, torch.float32, torch.device("cuda", n)) for n in range(2))
    assert first == second


def test_large_files_are_known_by_size_and_samples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE", 0)
    before, shard = take(folder), folder / "model-00001-of-00003.safetensors"
    flip(shard, 5000)
    changed = take(folder)
    shard.write_bytes(shard.read_bytes() + bytes(2 << 20))
    longer = take(folder)
    shard.write_bytes(shard.read_bytes() + b"\0")  # past the first sample: only the size tells
    assert len({before, changed, longer, take(folder)}) == 4
