"""Loading the 48B from its shards in each form: how fast, and what host and device hold at most.

The synthetic checkpoint is written shard by shard, each loaded and removed before the next: all 98 GB of it need no
more disk than one. Every second shard is read from the disk itself and the others from the system's file cache, so that
one pass tells what either takes. Off a GPU it is a dry run at a small size.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from kernels import quant
from model import weights
from model.config import KimiConfig
from model.transformer import Transformer
from tests.bench import synthetic
from tests.kernels.device import DEVICE, ON_GPU

LAYERS, EXPERTS, WEIGHTS = (27, 256, "fp8") if ON_GPU else (4, 16, "bf16,fp8,int4")
SMALL: dict[str, int] = {} if ON_GPU else {
    "hidden_size": 512, "intermediate_size": 512, "moe_intermediate_size": 256, "vocab_size": 4096,
    "num_attention_heads": 2,
}  # fmt: skip
"""What a dry run changes besides."""


def run() -> Iterator[str]:
    """The table."""
    config = synthetic.reduced(LAYERS, EXPERTS, **SMALL)
    size = synthetic.total_bytes(config) / 1e9
    yield f"{LAYERS} layers, {EXPERTS} experts, {size:.2f} GB in {shards(config)} shards\n"
    yield ("| experts | weights GB | cached GB/s | from disk GB/s | seconds in all | host GB beside | "
           "largest shard GB | device peak GB | tensors compared |")  # fmt: skip
    yield "|---|---|---|---|---|---|---|---|---|"
    for form in WEIGHTS.split(","):
        yield row(config, form)


def row(config: synthetic.Config, form: quant.Form) -> str:
    """Load it in one form, and compare some of what arrived."""
    with TemporaryDirectory() as folder:
        shards = Shards(Path(folder), config)
        if ON_GPU:
            torch.cuda.reset_peak_memory_stats()
        with torch.no_grad():
            model = weights.load(Path(folder), KimiConfig.from_keys(config), torch.bfloat16, DEVICE, form, shards)
    peak = torch.cuda.max_memory_allocated() / 1e9 if ON_GPU else float("nan")
    cached, cold = (sum(shards.bytes[n::2]) / sum(shards.seconds[n::2]) / 1e9 for n in range(2))
    return (f"| {form} | {model.nbytes / 1e9:.2f} | {cached:.2f} | {cold:.2f} | {sum(shards.seconds):.1f} | "
            f"{max(shards.beside) / 1e9:.2f} | {max(shards.bytes) / 1e9:.2f} | {peak:.2f} | "
            f"{compare(model, config)} |")  # fmt: skip


def shards(config: synthetic.Config) -> int:
    """So many that one is as large as the real checkpoint's, 4.9 GB."""
    return max(2, round(synthetic.SHARDS * synthetic.total_bytes(config) / synthetic.total_bytes(synthetic.reduced())))


class Shards:
    """The shards one after another; notes what happens between a shard and the loader's asking for the next."""

    def __init__(self, folder: Path, config: synthetic.Config) -> None:
        self._stream = synthetic.stream(folder, config, shards(config), device=str(DEVICE))
        self.bytes: list[int] = []
        self.seconds: list[float] = []
        self.beside: list[int] = []

    def __iter__(self) -> Iterator[Path]:
        for file in self._stream:
            self.bytes.append(file.stat().st_size)
            if len(self.bytes) % 2 == 0:
                _forget(file)
            before = _forget_peak()
            begun = time.perf_counter()
            yield file
            if ON_GPU:
                torch.cuda.synchronize()
            self.seconds.append(time.perf_counter() - begun)
            self.beside.append(_status("VmHWM") - before)


def compare(model: Transformer, config: synthetic.Config) -> int:
    """How many tensors of the model, spread over all of it, are what was drawn. Raises AssertionError for one that is
    not."""
    places = weights.destinations(model)
    names = list(synthetic.shapes(config))[:: max(1, len(places) // 100)]
    for name, drawn in synthetic.tensors(config, names, DEVICE):
        expected = quant.each(places[name], torch.empty_like)
        quant.store(expected, drawn.reshape(quant.shape(expected)))
        pairs = zip(quant.parts(places[name]), quant.parts(expected), strict=True)
        assert all(torch.equal(found.float(), wanted.float()) for found, wanted in pairs), name
    return len(names)


def _forget(file: Path) -> None:
    """Have the system drop a file from its cache."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _forget_peak() -> int:
    """Start anew to watch how much memory this process has; how much that is now, in bytes (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
