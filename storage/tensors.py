"""A tensor as a row and back, bit for bit: its bytes, and a checksum that also covers name, dtype and shape.

The bytes are held raw, or packed without loss. `zstd`: the first bytes of all elements, then the second ones, and so
on, through zstd; in bfloat16 the byte with sign and exponent repeats and the other does not, so they are better apart.
`mxint8`: for tensors that were rounded to 8 bits before; any other is held raw.
"""

import json
import sqlite3
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

from storage import mxint8
from storage.schema import TensorRow

MOST_BYTES = 64 << 20
"""In one row; longer tensors come in pages."""

PIECE = 256 << 10
"""Bytes read at once: few enough to stay in the processor's cache on their way to a tensor."""

Encoding = Literal["raw", "zstd", "mxint8"]

LEVEL = 1
"""Of zstd. Measured on mini's bfloat16 latents, one core: level 1 packs to 0.695 at 565 MB/s and unpacks at 1,775 MB/s;
levels 3 and 9 pack to 0.71 and 0.70, slower. Without parting the bytes it is 0.784; float32 KDA states pack to 0.92."""


@dataclass(frozen=True)
class Row:
    """A saved tensor. data uint8 [bytes]; intact: whether name, dtype, shape and data fit the checksum."""

    name: str
    dtype: str
    shape: str
    data: Tensor
    intact: bool

    def tensor(self) -> Tensor:
        """The tensor, on the CPU, in the memory of `data`. Only for an intact row."""
        return self.data.view(getattr(torch, self.dtype)).reshape(_sizes(self.shape))


def check_size(name: str, tensor: Tensor) -> None:
    """Raises ValueError if the tensor is too large for a row."""
    if tensor.nbytes > MOST_BYTES:
        raise ValueError(f"{name} has {tensor.nbytes:,} bytes, more than {MOST_BYTES:,}: save it in pages")


def pack(name: str, tensor: Tensor, encoding: Encoding = "raw") -> dict[str, Any]:
    """The columns of a row for a tensor of any shape, dtype and device."""
    data: bytes | memoryview = _bytes(tensor)
    packed = mxint8.pack(tensor) if encoding == "mxint8" else None
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = ",".join(map(str, tensor.shape))
    checksum = _checksum(name, dtype, shape, data)
    if encoding == "zstd":
        data = zstandard.ZstdCompressor(level=LEVEL).compress(_parted(data, tensor.element_size()))
    elif packed is not None:
        data = packed.numpy().data
    else:
        encoding = "raw"
    return {
        "name": name, "dtype": dtype, "shape": shape, "encoding": encoding, "length": len(data), "checksum": checksum,
        "data": data,
    }


def read(session: Session, block_id: int) -> Iterator[Row]:
    """The rows of a block, each checked, in the order of their names."""
    facts = select(
        TensorRow.id, TensorRow.name, TensorRow.dtype, TensorRow.shape, TensorRow.encoding, TensorRow.length,
        TensorRow.checksum,
    ).where(TensorRow.block_id == block_id).order_by(TensorRow.name)
    for id, name, dtype, shape, encoding, length, checksum in session.execute(facts).all():
        held = _held(session, id, length)
        plain = None if held is None else _unpacked(held, dtype, shape, encoding)
        intact = plain is not None and _checksum(name, dtype, shape, plain.numpy().data) == checksum
        yield Row(name, dtype, shape, torch.empty(0, dtype=torch.uint8) if plain is None else plain, intact)


def _held(session: Session, id: int, length: int) -> Tensor | None:
    """What a row holds, uint8 [length]; None if damage made it longer, shorter or another kind of value.

    From SQLite it goes piece by piece into the tensor's own memory: copies of whole rows, in memory that the system has
    to clear first, took longer than the disk.
    """
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, sqlite3.Connection):
        whole = session.scalar(select(TensorRow.data).where(TensorRow.id == id)) or b""
        return _tensor(whole) if len(whole) == length else None
    try:
        blob = connection.blobopen(TensorRow.__tablename__, TensorRow.data.key, id, readonly=True)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # it is this one for a value that is no blob
            raise
        return None
    with blob:
        if len(blob) != length:
            return None
        data = torch.empty(length, dtype=torch.uint8)
        into = data.numpy()
        for at in range(0, length, PIECE):
            piece = blob.read(PIECE)
            into[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        return data


def _unpacked(data: Tensor, dtype: str, shape: str, encoding: str) -> Tensor | None:
    """The tensor's bytes, uint8 [bytes]; None if they cannot be got back."""
    if encoding == "raw":
        return data
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        return None
    if encoding == "zstd":
        return _unzipped(data, kind)
    try:
        return mxint8.unpack(data, kind, _sizes(shape)) if encoding == "mxint8" else None
    except ValueError:  # a damaged shape
        return None


def _unzipped(data: Tensor, kind: torch.dtype) -> Tensor | None:
    packed = data.numpy().data
    try:
        if zstandard.frame_content_size(packed) > MOST_BYTES:
            return None
        parted = zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError:
        return None
    if len(parted) % kind.itemsize:
        return None
    plain = torch.empty(len(parted), dtype=torch.uint8)
    elements = plain.numpy().reshape(-1, kind.itemsize)
    for n, part in enumerate(np.frombuffer(parted, np.uint8).reshape(kind.itemsize, -1)):
        elements[:, n] = part  # one by one: six times as fast as a transposed copy
    return plain


def _sizes(shape: str) -> list[int]:
    return [int(size) for size in shape.split(",")] if shape else []


def _tensor(data: bytes) -> Tensor:
    """These bytes in a tensor's own memory."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


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
