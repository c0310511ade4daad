"""Which members of a zip or tar archive are read, and why the others are not.

A sandbox parses the archive and unpacks it, one member behind the other, into a single file of ours: nothing in it
becomes a file of its own, and no name in it leads anywhere.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, Any

from app.errors import SourceError
from app.extract.clean import label
from app.extract.folder import ARCHIVES, NOT_SOURCES
from app.extract.parts import DEPTH_LIMIT, FILE_LIMIT, FORMAT_LIMIT, MEGABYTE, Skip, SourceFile, Unreadable
from app.extract.sandbox import UNPACKED_LIMIT, Sandbox, Tick

RATIO_LIMIT = 200
"""Unpacked bytes for each packed one, asked only of members over a megabyte: small ones reach it honestly."""
_PIECE = MEGABYTE

_TARS: dict[str, Callable[..., Any]] = {".tar": open, ".tgz": gzip.open, ".tbz2": bz2.open, ".txz": lzma.open}
_PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
    ValueError, OverflowError, OSError,
)
"""How zipfile and tarfile say that an archive is broken; NotImplementedError is an unknown compression, RuntimeError a
missing password.
"""

Member = tuple[str, int, float, str | None, int, int]
"""A member's name, size and time of change; why it is not read, if so; where it is in the unpacked bytes, and to where.
"""


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that can be read."""
    return path.suffix.lower() == ".zip" or _tar_opener(path) is not None


def open_archive(
    archive: Path, opened: ExitStack, sandbox: Sandbox, prefix: str = "", tick: Tick | None = None
) -> tuple[list[SourceFile], list[Skip]]:
    """The members to read and the skips of an archive, whose bytes are there as long as `opened`; names start with
    `prefix`.

    Raises `SourceError` if the archive is broken, holds more than `FILE_LIMIT` entries or unpacks to more than
    `UNPACKED_LIMIT`; OSError if it cannot be opened.
    """
    archive.open("rb").close()
    spool = opened.enter_context(tempfile.NamedTemporaryFile())  # noqa: SIM115 (the stack closes it)
    files, skipped = [], []
    try:
        members = sandbox.call(
            unpack, b"", os.path.abspath(archive), spool.name, UNPACKED_LIMIT, FILE_LIMIT, tick=tick
        )
        for name, size, changed, reason, start, end in sorted(members, key=lambda member: member[0]):
            if reason:
                skipped.append(Skip(label(prefix + name), reason))
            else:
                read = _reader(spool.fileno(), start, end)
                files.append(SourceFile(label(prefix + name), size, read, changed))
    except Unreadable as error:
        raise SourceError(f"{archive.name}: {error}") from error
    return files, skipped


def unpack(_data: bytes, path: str, spool: str, most_bytes: int, most_files: int) -> Iterator[Member]:
    """What a sandbox runs: the members of the archive at `path`, in its order, those to be read put into `spool`."""
    archive = Path(path)
    unpacked = _unzipped if archive.suffix.lower() == ".zip" else _untarred
    try:
        with open(spool, "wb") as file:
            yield from unpacked(archive, file, most_bytes, most_files)
    except _DAMAGE as error:
        what = "zip" if archive.suffix.lower() == ".zip" else "tar"
        raise Unreadable(f"the {what} archive is broken or cut short ({error})") from error


def _reader(spool: int, start: int, end: int) -> Callable[[int], bytes]:
    return lambda limit: os.pread(spool, min(limit, end - start), start)


def _copied(member: IO[bytes], spool: IO[bytes], size: int) -> tuple[int, int]:
    """Put a member's bytes behind the others; tells where they are. Raises what its archive raises, and `Unreadable`
    where the disk is full.
    """
    start = spool.tell()
    left = min(size, FORMAT_LIMIT + 1)  # no reader takes more
    while left > 0 and (piece := member.read(min(_PIECE, left))):
        left -= len(piece)
        try:
            spool.write(piece)
            spool.flush()  # or the disk turns out to be full where it looks as if the archive were broken
        except OSError as error:
            raise Unreadable(f"there is no room to unpack it ({error.strerror})") from error
    return start, spool.tell()


def _too_large(size: str, most: int) -> Unreadable:
    return Unreadable(f"unpacks to {size}, more than the {most // MEGABYTE} MB allowed")


def _unzipped(archive: Path, spool: IO[bytes], most_bytes: int, most_files: int) -> Iterator[Member]:
    """The members of a zip archive. Its directory is checked before anything is unpacked."""
    with zipfile.ZipFile(archive) as zipped:
        members = [member for member in zipped.infolist() if not member.is_dir()]
        if sum(member.compress_size for member in members) > archive.stat().st_size:
            raise Unreadable("the members of the archive overlap (a zip bomb?)")
        if len(members) > most_files:
            raise Unreadable(f"{len(members):,} files in the archive, more than the {most_files:,} allowed")
        if (total := sum(member.file_size for member in members)) > most_bytes:
            raise _too_large(f"{total / MEGABYTE:,.0f} MB", most_bytes)
        for member in members:
            changed = time.mktime((*member.date_time, 0, 0, -1)) if 1980 <= member.date_time[0] <= 2100 else 0.0
            reason, where = _zip_reason(member), (0, 0)
            if not reason:
                try:
                    with zipped.open(member) as stream:
                        # The directory promised `file_size` bytes, and the caps were checked against that promise.
                        where = _copied(stream, spool, member.file_size + 1)
                except _DAMAGE as error:
                    reason = f"damaged in the archive ({error})"
            yield member.filename, member.file_size, changed, reason, *where


def _zip_reason(member: zipfile.ZipInfo) -> str | None:
    """Why a member of a zip archive is not read, or None."""
    if reason := _reason_to_skip(member.filename):
        return reason
    if member.flag_bits & 1:
        return "it is encrypted"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a link"
    if member.file_size > MEGABYTE and member.file_size > RATIO_LIMIT * max(member.compress_size, 1):
        return f"unpacks to over {RATIO_LIMIT} times its size (a zip bomb?)"
    return None


def _tar_opener(path: Path) -> Callable[..., Any] | None:
    """What opens a tar archive of this name, packed or not; None if it is no such name."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    if len(endings) == 2 and endings[0] == ".tar":
        return _PACKED.get(endings[1])
    return _TARS.get(endings[-1]) if endings else None


def _untarred(archive: Path, spool: IO[bytes], most_bytes: int, most_files: int) -> Iterator[Member]:
    """The members of a tar archive, which is gone through once: it has no directory to look at before."""
    opener = _tar_opener(archive)
    assert opener is not None
    count = total = 0
    with opener(archive, "rb") as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        for member in tar:
            count, total = count + (not member.isdir()), total + abs(member.size)
            if count > most_files:
                raise Unreadable(f"more files in the archive than the {most_files:,} allowed")
            if total > most_bytes:
                raise _too_large("much", most_bytes)
            if member.isdir():
                continue
            reason, where = _tar_reason(member), (0, 0)
            if not reason and (stream := tar.extractfile(member)):
                where = _copied(stream, spool, member.size)
            size = member.size if member.isfile() else 0
            yield member.name, size, float(member.mtime), reason, *where


def _tar_reason(member: tarfile.TarInfo) -> str | None:
    """Why a member of a tar archive is not read, or None."""
    if reason := _reason_to_skip(member.name):
        return reason
    if member.issym() or member.islnk():
        return "a link"
    return None if member.isfile() else "a device or pipe"


def _reason_to_skip(name: str) -> str | None:
    """Why a member of this name is not read, or None."""
    path = PurePosixPath(name)
    for part in path.parts:
        if part in NOT_SOURCES:
            return NOT_SOURCES[part]
    if path.is_absolute() or ".." in path.parts:
        return "a name that leads out of the archive"
    if len(path.parts) > DEPTH_LIMIT + 1:
        return f"more than {DEPTH_LIMIT} folders deep"
    if path.suffix.lower() in ARCHIVES:
        return "an archive inside the archive (read it by itself)"
    return None
