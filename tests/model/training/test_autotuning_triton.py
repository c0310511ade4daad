"""Autotuning tries few configurations."""

import subprocess
import sys

PROGRAM = """
import triton
from model.training import autotuning_triton
autotuning_triton.limit(2)

@triton.autotune([triton.Config({}, num_warps=w, num_stages=s) for w in (1, 2, 4, 8, 16) for s in (1, 2, 3)], key=[])
@triton.jit
def kernel(x):
    pass

print([(c.num_warps, c.num_stages) for c in kernel.configs])
"""


def test_the_nearest_configurations_are_left() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[(4, 3), (4, 2)]", done.stderr
