"""Memory of a program with many threads."""

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8


def share_one_heap() -> None:
    """Have all threads allocate from one heap. glibc gives each its own, and what is freed in one is no other's: with
    many threads memory creeps up for hours. Elsewhere nothing is done. Call it before threads are started.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
