"""What a GPU cannot do is said in one line, and what else goes wrong is left as it is."""

import weakref

import pytest
import torch

from model.engine import Engine
from model.errors import DeviceError, ModelError, device_errors


def failing(error: Exception) -> None:
    """What computes on a GPU, and fails."""
    with device_errors():
        raise error


def test_no_memory_left_is_one_line_that_says_what_to_do() -> None:
    with pytest.raises(DeviceError, match=r"^the GPU has no memory left for this: close .*; saved states are intact$"):
        failing(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand much more"))
    assert issubclass(DeviceError, ModelError)


def test_so_is_the_computers_own() -> None:
    with pytest.raises(DeviceError, match=r"^the computer has no memory left for this: close "):
        failing(RuntimeError("DefaultCPUAllocator: can't allocate memory: you"))


def test_what_was_made_on_the_way_is_let_go() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def work() -> None:
        tensor = torch.zeros(3)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(DeviceError) as caught, device_errors():
        work()
    assert caught.value.__cause__ is not None
    assert held[0]() is None


def test_a_gpu_that_failed_is_named_by_its_first_line() -> None:
    with pytest.raises(DeviceError, match=r"^the GPU failed \(CUDA error: launch failure\): start Onceread again"):
        failing(torch.AcceleratorError("CUDA error: launch failure\nCompile with ..."))


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        failing(RuntimeError("a mistake of ours"))


def test_the_engine_says_it_while_it_reads_and_goes_on_after(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as patch:
        patch.setattr(type(tiny_engine.model.layers[0]), "forward", full)
        with pytest.raises(DeviceError):
            tiny_engine.read(tiny_engine.empty(), [5, 6, 7])
    assert tiny_engine.read(tiny_engine.empty(), [5, 6, 7]).tokens == 3
