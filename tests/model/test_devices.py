"""Memory that is freed: one heap for all threads, given back when asked for, where glibc does the keeping."""

import ctypes
import platform
import subprocess
import sys

import pytest

from model import devices

HEAPS = """
import ctypes, sys, tempfile, threading
from model import devices

if sys.argv[1] == "one":
    devices.keep_freed_memory()
held, meet = [], threading.Barrier(4)
def take():
    meet.wait()
    held.append([bytearray(1 << 16) for _ in range(100)])
    meet.wait()
threads = [threading.Thread(target=take) for _ in range(4)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as found:
    file = ctypes.c_void_p(libc.fopen(found.name.encode(), b"w"))
    libc.malloc_info(0, file), libc.fclose(file)
    print(found.read().count(b"<heap nr"))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another library keeps memory in its own way")
def test_all_threads_use_one_heap() -> None:
    one, usual = (
        int(subprocess.run([sys.executable, "-c", HEAPS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("one", "usual")
    )
    assert one == 1 < usual


def test_elsewhere_nothing_is_asked_of_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    devices.keep_freed_memory()
    devices.give_back_freed_memory()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("there is no such library"))
    monkeypatch.setattr(sys, "platform", "win32")
    devices.keep_freed_memory()
    devices.give_back_freed_memory()
