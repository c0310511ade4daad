"""Power cuts, worked out: what a disk may hold after one, from a record of every write and every sync.

Until a file is synced, each 4 KiB of what was written to it may be on the disk or not; until its directory is synced,
the last of its entries that were made, renamed or removed may be as they were before.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 4096


@dataclass(frozen=True)
class Record:
    """One change, as `shim.c` notes it."""

    kind: str
    file: int
    offset: int
    data: bytes


@dataclass
class File:
    """A file's bytes that are safe, and the changes that are not."""

    safe: bytearray = field(default_factory=bytearray)
    loose: list[Record] = field(default_factory=list)

    def sync(self) -> None:
        """All changes are safe."""
        for change in self.loose:
            _apply(self.safe, change)
        self.loose.clear()

    def after_a_cut(self, chance: random.Random) -> bytes:
        """What may be found: of the loose changes any sectors."""
        content = bytearray(self.safe)
        keep = chance.choice([0.0, 0.5, 1.0, chance.random()])
        for change in self.loose:
            if change.kind == "T":
                if chance.random() < keep:
                    _apply(content, change)
                continue
            for at in range(0, len(change.data), SECTOR):
                if chance.random() < keep:
                    _apply(content, Record("W", 0, change.offset + at, change.data[at : at + SECTOR]))
        return bytes(content)


class Disk:
    """A folder's files, as changes come in."""

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        self.safe_names: dict[str, File] = {}
        self.loose_names: list[dict[str, File]] = []
        self.open: dict[int, File] = {}

    def take(self, record: Record) -> None:
        """One more change."""
        if record.kind == "O":
            name = record.data.decode()
            if name not in self.names:
                self._rename(self.names | {name: File()})
            self.open[record.file] = self.names[name]
        elif record.kind in "WT":
            self.open[record.file].loose.append(record)
        elif record.kind == "S":
            self.open[record.file].sync()
        elif record.kind == "D":
            self.safe_names = dict(self.names)
            self.loose_names.clear()
        elif record.kind == "U":
            self._rename({name: file for name, file in self.names.items() if name != record.data.decode()})
        elif record.kind == "R":
            old, new = record.data.decode().split("\0")
            self._rename({new if name == old else name: file for name, file in self.names.items() if name != new})

    def after_a_cut(self, chance: random.Random, folder: Path) -> None:
        """Write what may be found after a power cut now into an empty folder."""
        entries = chance.choice([self.safe_names, *self.loose_names])
        for name, file in entries.items():
            (folder / Path(name).name).write_bytes(file.after_a_cut(chance))

    def _rename(self, names: dict[str, File]) -> None:
        self.names = names
        self.loose_names.append(dict(names))


def records(log: bytes) -> Iterator[Record]:
    """The record that `shim.c` wrote."""
    at = 0
    while at < len(log):
        file, offset, length = struct.unpack_from("<qqq", log, at + 1)
        yield Record(chr(log[at]), file, offset, log[at + 25 : at + 25 + length])
        at += 25 + length


def _apply(content: bytearray, change: Record) -> None:
    end = change.offset if change.kind == "T" else change.offset + len(change.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if change.kind == "T":
        del content[end:]
    else:
        content[change.offset : end] = change.data
