"""The chooser: by device, by the setting, and in clear words where the two do not fit."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kernels import backend

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts from the defaults."""
    monkeypatch.delenv("ONCEREAD_KERNELS", raising=False)


def test_the_device_chooses() -> None:
    assert backend.form(CPU) == backend.form(torch.device("meta")) == "reference"
    assert backend.form(GPU) == "triton"
    assert not backend.use_triton(torch.empty(1))


def test_a_setting_goes_before_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONCEREAD_KERNELS", "reference")
    assert backend.form(GPU) == "reference"
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert backend.form(CPU) == backend.form(GPU) == "triton"
    assert backend.use_triton(torch.empty(1))


def test_a_processors_own_kernels_are_there_unless_somebody_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend.has_numba()
    with monkeypatch.context() as patch:
        patch.setattr(backend, "_is_installed", lambda package: package != "numba")
        assert not backend.has_numba()
    for chosen in backend.FORMS:
        monkeypatch.setenv("ONCEREAD_KERNELS", chosen)
        assert not backend.has_numba()


def test_what_cannot_be_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    with pytest.raises(ValueError, match="needs a GPU: unset it"):
        backend.form(CPU)
    monkeypatch.setenv("ONCEREAD_KERNELS", "fast")
    with pytest.raises(ValueError, match="'fast': set it to reference or triton"):
        backend.form(GPU)


def test_triton_is_not_imported_with_the_model() -> None:
    program = "import sys, model.transformer; sys.exit('triton' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0
