"""The device a model is to run on, and the numbers it is to compute with there."""

import ctypes
import sys

import torch

from model.errors import ModelError

M_ARENA_MAX = -8
"""glibc's number (malloc.h) for how many heaps there may be."""


def choose_device(name: str) -> torch.device:
    """The device of that name. Raises ModelError if it cannot be used here."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the device {name!r} cannot be used here ({str(error).splitlines()[0]})") from error
    return device


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU and on processors with matrix units for it; elsewhere it is emulated, and float32 is faster."""
    fast = device.type != "cpu" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def keep_freed_memory() -> None:
    """Let glibc hold on to blocks of up to 31 MiB that are freed, as it does from the first of that size on. Otherwise
    each of a layer's intermediates is given back to the system and taken anew, page by page: a tenth of reading.

    And have all threads use one heap: of what is freed in another thread's, none is used again here, and each state of
    100,000 tokens that threads took up from disk left 40 MB so. To be called before there are such threads: a heap that
    there is stays.
    """
    _glibc("mallopt", M_ARENA_MAX, 1)
    torch.empty(31 << 20, dtype=torch.uint8)


def give_back_freed_memory() -> None:
    """Have glibc give back what it holds on to, once: loading `mini` leaves 170 MB, in holes between what stays."""
    _glibc("malloc_trim", 0)


def _glibc(function: str, *numbers: int) -> None:
    """Call a function of glibc's; nothing where there is another library."""
    found = getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
    if found is not None:
        found(*numbers)
