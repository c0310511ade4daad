"""Time on a GPU: medians of CUDA events, in a graph where launches would count; and the ceilings to hold against."""

from collections.abc import Callable
from functools import cache

import torch

from tests.kernels.device import ON_GPU

WARM, REPEAT = (3, 20) if ON_GPU else (0, 1)


def milliseconds(work: Callable[[], object], repeat: int = REPEAT) -> float:
    """The median time of `repeat` calls, the GPU's cache flushed before each. Off a GPU, a dry run, it is NaN."""
    if not ON_GPU:
        work()
        return float("nan")
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    for _ in range(min(WARM, repeat)):
        work()
    times = []
    for _ in range(repeat):
        flush.zero_()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def graphed_milliseconds(work: Callable[[], object]) -> float:
    """The same for the replay of a CUDA graph of `work`, which may be many launches."""
    if not ON_GPU:
        return milliseconds(work)
    for _ in range(2):
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return milliseconds(graph.replay)


@cache
def copy_speed() -> float:
    """Bytes a second of a device-to-device copy, read and written ones counted."""
    x = torch.randn((1 << 30) if ON_GPU else 1024, device="cuda" if ON_GPU else "cpu").bfloat16()
    y = torch.empty_like(x)
    return 2 * x.numel() * x.element_size() / milliseconds(lambda: y.copy_(x)) * 1e3


@cache
def matmul_speed() -> float:
    """Floating-point operations a second of an 8192 x 8192 x 8192 product of random bfloat16."""
    n = 8192 if ON_GPU else 16
    a, b = (torch.randn(n, n, device="cuda" if ON_GPU else "cpu").bfloat16() for _ in range(2))
    return 2 * n**3 / milliseconds(lambda: a @ b) * 1e3


def ceilings() -> str:
    """One line with both."""
    return f"ceilings: copy {copy_speed() / 1e12:.2f} TB/s, bf16 8192^3 {matmul_speed() / 1e12:.0f} TFLOP/s"
