"""Saving and restoring states beside the disk's own speed, for the page sizes and the two ways to hold a row.

ONCEREAD_GB: gigabytes of state (1). Latents are normal random numbers in bfloat16 at the 48B's shape.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from storage.blocks import Maker, Piece
from storage.database import Database
from storage.documents import Documents
from storage.snapshots import Snapshots
from storage.tensors import Encoding

WIDTH, LAYERS = 576, 7
"""The 48B's latents: 8,064 bytes a token."""
BLOCK = 16 << 20


def run() -> list[str]:
    """Measure; returns the lines of a Markdown table."""
    size = int(float(os.environ.get("ONCEREAD_GB", "1")) * 1e9)
    with tempfile.TemporaryDirectory(dir=os.environ.get("ONCEREAD_HOME")) as name:
        folder = Path(name)
        written = _seconds(lambda: _write(folder / "plain", size))
        read = _seconds(lambda: _read(folder / "plain"))
        (folder / "plain").unlink()
        disk = (size / written / 1e6, size / read / 1e6)
        rows = [
            "| what | write MB/s | of the disk | restore MB/s | of the disk | file / state |",
            "|---|---|---|---|---|---|",
            f"| one plain file, 16 MiB at a time, synced | {disk[0]:,.0f} | | {disk[1]:,.0f} | | |",
        ]
        for page, encoding in ((4096, "raw"), (1024, "raw"), (8192, "raw"), (4096, "zstd")):
            saved, loaded, share = _state(folder / f"{page}{encoding}.sqlite", size, page, encoding)
            rows.append(
                f"| state in pages of {page:,} tokens, {encoding} | {saved:,.0f} | {saved / disk[0]:.0%} "
                f"| {loaded:,.0f} | {loaded / disk[1]:.0%} | {share:.3f} |"
            )
    return [f"{size / 1e9:g} GB of state; file caches dropped before every read", "", *rows]


def _state(path: Path, size: int, page: int, encoding: Encoding) -> tuple[float, float, float]:
    """MB/s of saving as reading does, 16k tokens a commit, and of loading; the file's bytes for a byte of state."""
    pages = max(1, size // (page * WIDTH * LAYERS * 2))
    rows = torch.randn(page + pages, WIDTH).bfloat16()
    database = Database(path)
    snapshots = Snapshots(database)
    document = Documents(database).add("a", "text", "a", [], [], None)
    maker = Maker("model", "tokenizer", "prompt")
    held: list[Piece] = []
    spent = 0.0
    for n in range(pages):
        latents = {f"layers.{layer}.latents.{n}": rows[n : n + page] for layer in range(LAYERS)}
        held.append(Piece(f"page {n}", (n + 1) * page, latents))
        if (n + 1) * page % 16_384 == 0 or n + 1 == pages:
            end = Piece(f"end {n}", (n + 1) * page, {"layers.0.recurrent": torch.zeros(1 << 20)})
            begun = time.perf_counter()
            snapshots.save(document.id, maker, held, end, True, (), encoding)
            spent += time.perf_counter() - begun
    stored = sum(x.nbytes for piece in held for x in piece.tensors.values())
    (state,) = snapshots.find(document.id)
    database.close()
    _forget(path)
    reopened = Database(path)
    loading = _seconds(lambda: Snapshots(reopened).load(state.id))
    reopened.close()
    share = path.stat().st_size / stored
    path.unlink()
    return stored / spent / 1e6, stored / loading / 1e6, share


def _write(path: Path, size: int) -> None:
    block = os.urandom(BLOCK)
    with path.open("wb") as file:
        for _ in range(size // BLOCK):
            file.write(block)
        os.fsync(file.fileno())


def _read(path: Path) -> None:
    _forget(path)
    with path.open("rb", buffering=0) as file:
        while file.read(BLOCK):
            pass


def _forget(path: Path) -> None:
    """Have the system drop what it keeps of a file in memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
