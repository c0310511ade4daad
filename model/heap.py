"""How glibc keeps memory that is freed, in a program of many threads that runs for days; elsewhere nothing is done."""

import ctypes
import sys

import torch

_M_ARENA_MAX = -8
"""glibc's number (malloc.h) for how many heaps there may be."""


def share_one_heap() -> None:
    """Have all threads allocate from one heap. glibc gives each its own, and what is freed in one is no other's: with
    many threads memory creeps up for hours, and each state of 100,000 tokens that threads take up from disk leaves
    40 MB. Call it before threads are started: a heap that there is stays.
    """
    _glibc("mallopt", _M_ARENA_MAX, 1)


def keep_freed_memory() -> None:
    """Let glibc hold on to blocks of up to 31 MiB that are freed, as it does from the first of that size on. Otherwise
    each of a layer's intermediates is given back to the system and taken anew, page by page: a tenth of reading."""
    torch.empty(31 << 20, dtype=torch.uint8)


def give_back() -> None:
    """Give memory that is free back to the system, also where it lies between blocks in use. glibc keeps it: loading
    `mini` leaves 170 MB so, and many questions a tenth of all there is. It takes about 10 ms.
    """
    _glibc("malloc_trim", 0)


def _glibc(function: str, *numbers: int) -> None:
    found = getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
    if found is not None:
        found(*numbers)
