"""Saving and restoring states beside the disk's own speed, for page sizes and ways to hold a row.

ONCEREAD_GB: gigabytes of latents (1). They are normal random numbers in bfloat16 at the 48B's shape, with its KDA
layers' state at the end of every commit, as when a book is read: 16k tokens a commit, the end before it removed.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from storage.blocks import Maker, Piece
from storage.database import Database
from storage.documents import Documents
from storage.mxint8 import rounded
from storage.snapshots import Snapshots
from storage.tensors import Encoding

WIDTH, MLA_LAYERS, KDA_LAYERS, HEADS, DIM = 576, 7, 20, 32, 128
"""The 48B's state: 8,064 bytes of latents a token, 43 MB that no length changes."""
KINDS: list[tuple[int, Encoding]] = [(4096, "raw"), (1024, "raw"), (8192, "raw"), (4096, "zstd"), (4096, "mxint8")]
"""Tokens in a page, and how it is held; the first is what Onceread does."""
MANY = 2e9
"""Beyond so many bytes only the first kind is measured."""
COMMIT = 16_384
BLOCK = 16 << 20
TRIES = 3
"""Restores measured, each with cold caches; the best counts, as for the disk."""


def run() -> list[str]:
    """Measure; returns the lines of a Markdown table."""
    size = int(float(os.environ.get("ONCEREAD_GB", "1")) * 1e9)
    with tempfile.TemporaryDirectory(dir=os.environ.get("ONCEREAD_HOME")) as name:
        folder = Path(name)
        written = _seconds(lambda: _write(folder / "plain", size))
        read = _best(folder / "plain", lambda: _read(folder / "plain"))
        (folder / "plain").unlink()
        disk = (size / written / 1e6, size / read / 1e6)
        rows = [
            "| what | write MB/s | of the disk | restore MB/s, cold | of the disk | warm | file / state |",
            "|---|---|---|---|---|---|---|",
            f"| one plain file, 16 MiB at a time, synced | {disk[0]:,.0f} | | {disk[1]:,.0f} | | | |",
        ]
        for page, encoding in KINDS if size <= MANY else KINDS[:1]:
            saved, cold, warm, share = _state(folder / "state.sqlite", size, page, encoding)
            rows.append(
                f"| state in pages of {page:,} tokens, {encoding} | {saved:,.0f} | {saved / disk[0]:.0%} "
                f"| {cold:,.0f} | {cold / disk[1]:.0%} | {warm:,.0f} | {share:.3f} |"
            )
    return [f"{size / 1e9:g} GB of state; file caches dropped before every cold read", "", *rows]


def _state(path: Path, size: int, page: int, encoding: Encoding) -> tuple[float, float, float, float]:
    """MB/s of saving as reading does, of loading cold and warm; the file's bytes for a byte of state."""
    pages = max(1, size // (page * WIDTH * MLA_LAYERS * 2))
    rows = rounded(torch.randn(page + pages, WIDTH).bfloat16())
    database = Database(path)
    snapshots = Snapshots(database)
    document = Documents(database).add("a", "text", "a", [], [], None)
    maker = Maker("model", "tokenizer", "prompt")
    held: list[Piece] = []
    spent, written = 0.0, 0
    for n in range(pages):
        latents = {f"layers.{layer}.latents.{n}": rows[n : n + page] for layer in range(MLA_LAYERS)}
        held.append(Piece(f"page {n}", (n + 1) * page, latents, encoding))
        written += _bytes(latents)
        if (n + 1) * page % COMMIT == 0 or n + 1 == pages:
            end = Piece(f"end {n}", (n + 1) * page, _kda(n), "raw" if encoding == "mxint8" else encoding)
            begun = time.perf_counter()
            snapshots.save(document.id, maker, held, end, True)
            spent += time.perf_counter() - begun
            written += _bytes(end.tensors)
    stored = sum(_bytes(piece.tensors) for piece in [*held, end])
    (state,) = snapshots.find(document.id)
    del held
    cold = _best(path, lambda: snapshots.load(state.id))
    warm = _seconds(lambda: snapshots.load(state.id))
    database.close()
    share = path.stat().st_size / stored
    path.unlink()
    return written / spent / 1e6, stored / cold / 1e6, stored / warm / 1e6, share


def _kda(seed: int) -> dict[str, Tensor]:
    """The KDA layers' state, with other numbers for each seed."""
    numbers = torch.randn(HEADS * DIM * DIM + KDA_LAYERS, generator=torch.Generator().manual_seed(seed))
    tensors = {}
    for layer in range(KDA_LAYERS):
        recurrent = numbers[layer : layer + HEADS * DIM * DIM].reshape(HEADS, DIM, DIM)
        tensors[f"layers.{layer}.recurrent"] = recurrent
        tensors[f"layers.{layer}.conv"] = recurrent.flatten()[: 9 * HEADS * DIM].bfloat16()
    return tensors


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(x.nbytes for x in tensors.values())


def _write(path: Path, size: int) -> None:
    block = os.urandom(BLOCK)
    with path.open("wb") as file:
        for _ in range(size // BLOCK):
            file.write(block)
        os.fsync(file.fileno())


def _read(path: Path) -> None:
    block = bytearray(BLOCK)
    with path.open("rb", buffering=0) as file:
        while file.readinto(block):
            pass


def _forget(path: Path) -> None:
    """Have the system drop what it keeps of a file in memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _best(path: Path, work: Callable[[], object]) -> float:
    """The least seconds of a few tries, each with nothing of the file in memory."""
    taken = []
    for _ in range(TRIES):
        _forget(path)
        taken.append(_seconds(work))
    return min(taken)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
