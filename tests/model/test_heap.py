"""All threads allocate from one heap."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from model import heap

ROOT = Path(__file__).parents[2]


def test_threads_share_one_heap_where_there_is_glibc() -> None:
    asked = (
        "import ctypes, threading\nfrom model.heap import share_one_heap\nshare_one_heap()\n"
        "libc = ctypes.CDLL(None)\n"
        "for _ in range(4):\n    made = threading.Thread(target=lambda: [bytes(900) for _ in range(9)])\n"
        "    made.start()\n    made.join()\nlibc.malloc_stats()"
    )
    said = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, text=True, capture_output=True, check=True).stderr
    assert said.count("Arena ") == 1, said


def test_free_memory_between_blocks_in_use_is_given_back() -> None:
    asked = (
        "import psutil\nfrom model.heap import give_back, share_one_heap\nshare_one_heap()\n"
        "blocks = [bytes(4000) for _ in range(20_000)]\ndel blocks[:-1]\n"  # the last one holds the heap's end
        "before = psutil.Process().memory_info().rss\ngive_back()\n"
        "print((before - psutil.Process().memory_info().rss) // 1_000_000)"
    )
    said = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert int(said) > 60, said


def test_elsewhere_nothing_is_asked_of_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    heap.share_one_heap()
    heap.give_back()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("there is no such library"))
    monkeypatch.setattr(sys, "platform", "win32")
    heap.share_one_heap()
    heap.give_back()
