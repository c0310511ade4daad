"""A tensor as a row and back, bit for bit: its bytes, and a checksum that also covers name, dtype and shape.

The bytes are held raw, or packed: the first bytes of all elements, then the second ones, and so on, through zstd. In
bfloat16 the byte with sign and exponent repeats and the other does not, so the two are better apart.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import zstandard
from sqlalchemy import select
from sqlalchemy.orm import Session
from torch import Tensor
from xxhash import xxh3_128

from storage.schema import TensorRow

MOST_BYTES = 64 << 20
"""In one row; longer tensors come in pages."""

ROWS_AT_ONCE = 1
"""Rows fetched together. Measured with 90 rows of 3 MB: loading takes 0.13 s by one, 0.25 s by four (fresh memory)."""

Encoding = Literal["raw", "zstd"]

LEVEL = 1
"""Of zstd. Measured on mini's bfloat16 latents, one core: level 1 packs to 0.695 at 565 MB/s and unpacks at 1,775 MB/s;
levels 3 and 9 pack to 0.71 and 0.70, slower. Without parting the bytes it is 0.784; float32 KDA states pack to 0.92."""


@dataclass(frozen=True)
class Row:
    """A saved tensor. intact: whether name, dtype, shape and data fit the checksum."""

    name: str
    dtype: str
    shape: str
    data: bytes
    intact: bool

    def tensor(self) -> Tensor:
        """The tensor, on the CPU, with memory of its own. Only for an intact row."""
        sizes = [int(size) for size in self.shape.split(",")] if self.shape else []
        kind = getattr(torch, self.dtype)
        if not self.data:
            return torch.empty(sizes, dtype=kind)
        return torch.frombuffer(bytearray(self.data), dtype=kind).reshape(sizes)


def check_size(name: str, tensor: Tensor) -> None:
    """Raises ValueError if the tensor is too large for a row."""
    if tensor.nbytes > MOST_BYTES:
        raise ValueError(f"{name} has {tensor.nbytes:,} bytes, more than {MOST_BYTES:,}: save it in pages")


def pack(name: str, tensor: Tensor, encoding: Encoding = "raw") -> dict[str, Any]:
    """The columns of a row for a tensor of any shape, dtype and device."""
    data: bytes | memoryview = _bytes(tensor)
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = ",".join(map(str, tensor.shape))
    checksum = _checksum(name, dtype, shape, data)
    if encoding == "zstd":
        data = zstandard.ZstdCompressor(level=LEVEL).compress(_parted(data, tensor.element_size()))
    return {
        "name": name, "dtype": dtype, "shape": shape, "encoding": encoding, "length": len(data), "checksum": checksum,
        "data": data,
    }


def read(session: Session, block_id: int) -> Iterator[Row]:
    """The rows of a block, each checked."""
    columns = (
        TensorRow.name, TensorRow.dtype, TensorRow.shape, TensorRow.encoding, TensorRow.checksum, TensorRow.data,
    )
    # By name, the order of the index: any other would make SQLite sort the data itself.
    found = select(*columns).where(TensorRow.block_id == block_id).order_by(TensorRow.name)
    found = found.execution_options(yield_per=ROWS_AT_ONCE)
    for name, dtype, shape, encoding, checksum, data in session.execute(found):
        # Damage can turn a blob into another kind of value.
        plain = _unpacked(data, dtype, encoding) if isinstance(data, bytes) else None
        intact = plain is not None and _checksum(name, dtype, shape, plain) == checksum
        yield Row(name, dtype, shape, plain or b"", intact)


def _unpacked(data: bytes, dtype: str, encoding: str) -> bytes | None:
    """The tensor's bytes; None if they cannot be got back."""
    if encoding == "raw":
        return data
    kind = getattr(torch, dtype, None)
    if encoding != "zstd" or not isinstance(kind, torch.dtype):
        return None
    try:
        if zstandard.frame_content_size(data) > MOST_BYTES:
            return None
        parted = zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError:
        return None
    if len(parted) % kind.itemsize:
        return None
    return np.frombuffer(parted, np.uint8).reshape(kind.itemsize, -1).T.tobytes()


def _parted(data: memoryview | bytes, width: int) -> bytes:
    """Every element's first byte, then every second one …"""
    return np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()


def _bytes(tensor: Tensor) -> memoryview:
    """The tensor's bytes in memory order, without a copy where it is contiguous and on the CPU."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _checksum(name: str, dtype: str, shape: str, data: bytes | memoryview) -> str:
    digest = xxh3_128(json.dumps([name, dtype, shape]).encode())
    digest.update(data)
    return digest.hexdigest()
