"""Which members of a zip or tar archive are read, and why the others are not. None becomes a file of its own."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import tempfile
import time
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

from app.errors import SourceError
from app.extract.clean import label
from app.extract.folder import ARCHIVES, NOT_SOURCES
from app.extract.parts import DEPTH_LIMIT, FILE_LIMIT, MEGABYTE, Skip, SourceFile, Unreadable

TOTAL_LIMIT = 500 * MEGABYTE
"""Bytes of all members together, unpacked."""
RATIO_LIMIT = 200
"""Unpacked bytes for each packed one, asked only of members over a megabyte: small ones reach it honestly."""
_PIECE = MEGABYTE

_TARS = {".tar": open, ".tgz": gzip.open, ".tbz2": bz2.open, ".txz": lzma.open}
_PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
    ValueError, OverflowError, OSError,
)
"""How zipfile and tarfile say that an archive is broken; NotImplementedError is an unknown compression, RuntimeError a
missing password.
"""


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that can be read."""
    return path.suffix.lower() == ".zip" or _tar_opener(path) is not None


def open_archive(archive: Path, opened: ExitStack, prefix: str = "") -> tuple[list[SourceFile], list[Skip]]:
    """The members to read and the skips of an archive that stays open as long as `opened`; names start with `prefix`.

    Raises `SourceError` if the archive is broken, holds more than `FILE_LIMIT` entries or unpacks to more than
    `TOTAL_LIMIT`; OSError if it cannot be opened.
    """
    archive.open("rb").close()
    try:
        found = _zipped(archive, opened) if archive.suffix.lower() == ".zip" else _tarred(archive, opened)
    except _DAMAGE as error:
        what = "zip" if archive.suffix.lower() == ".zip" else "tar"
        raise SourceError(f"{archive.name}: the {what} archive is broken or cut short ({error})") from error
    if len(found) > FILE_LIMIT:
        raise SourceError(f"{archive.name}: {len(found):,} files in the archive, more than the {FILE_LIMIT:,} allowed")
    if (total := sum(file.size for file, _ in found)) > TOTAL_LIMIT:
        raise SourceError(_too_large(archive, f"{total / MEGABYTE:,.0f} MB"))
    files, skipped = [], []
    for file, reason in sorted(found, key=lambda each: each[0].path):
        name = label(prefix + file.path)
        if reason := _reason_to_skip(file.path) or reason:
            skipped.append(Skip(name, reason))
        else:
            files.append(SourceFile(name, file.size, file.read, file.changed))
    return files, skipped


def _too_large(archive: Path, size: str) -> str:
    return f"{archive.name}: unpacks to {size}, more than the {TOTAL_LIMIT // MEGABYTE} MB allowed"


def _zipped(archive: Path, opened: ExitStack) -> list[tuple[SourceFile, str | None]]:
    """The members of a zip archive, each with why it is not read, if so."""
    zipped = opened.enter_context(zipfile.ZipFile(archive))
    members = [member for member in zipped.infolist() if not member.is_dir()]
    if sum(member.compress_size for member in members) > archive.stat().st_size:
        raise SourceError(f"{archive.name}: the members of the archive overlap (a zip bomb?)")
    found: list[tuple[SourceFile, str | None]] = []
    for member in members:
        reason = None
        if member.flag_bits & 1:
            reason = "it is encrypted"
        elif member.external_attr >> 28 == 0o12:
            reason = "a link"
        elif member.file_size > MEGABYTE and member.file_size > RATIO_LIMIT * max(member.compress_size, 1):
            reason = f"unpacks to over {RATIO_LIMIT} times its size (a zip bomb?)"
        changed = time.mktime((*member.date_time, 0, 0, -1)) if 1980 <= member.date_time[0] <= 2100 else 0.0
        found.append((_zip_member(zipped, member, changed), reason))
    return found


def _zip_member(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, changed: float) -> SourceFile:
    """One member, read from the archive when asked for."""

    def read(limit: int) -> bytes:
        try:
            with zipped.open(member) as file:
                # Its directory promised `file_size` bytes, and the caps were checked against that promise.
                return file.read(min(limit, member.file_size + 1))
        except _DAMAGE as error:
            raise Unreadable(f"damaged in the archive ({error})") from error

    return SourceFile(member.filename, member.file_size, read, changed)


def _tar_opener(path: Path) -> object | None:
    """What opens a tar archive of this name, packed or not; None if it is no such name."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    if len(endings) == 2 and endings[0] == ".tar":
        return _PACKED.get(endings[1])
    return _TARS.get(endings[-1]) if endings else None


def _tarred(archive: Path, opened: ExitStack) -> list[tuple[SourceFile, str | None]]:
    """The members of a tar archive, each with why it is not read, if so."""
    tar = opened.enter_context(tarfile.open(fileobj=_unpacked(archive, opened), mode="r:"))  # noqa: SIM115 (the stack closes it)
    found: list[tuple[SourceFile, str | None]] = []
    for member in tar:
        if member.isdir():
            continue
        reason = None
        if member.issym() or member.islnk():
            reason = "a link"
        elif not member.isfile():
            reason = "a device or pipe"
        found.append((_tar_member(tar, member), reason))
        if len(found) > FILE_LIMIT:
            break
    return found


def _unpacked(archive: Path, opened: ExitStack) -> IO[bytes]:
    """The plain tar, in a nameless file on disk if the archive is packed: its members are then read in any order."""
    opener = _tar_opener(archive)
    assert callable(opener)
    packed = opened.enter_context(opener(archive, "rb"))
    if opener is open:
        return packed
    plain = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (likewise)
    while piece := packed.read(_PIECE):
        plain.write(piece)
        if plain.tell() > TOTAL_LIMIT + TOTAL_LIMIT // 10:  # its headers and padding come on top
            raise SourceError(_too_large(archive, "much"))
    plain.seek(0)
    return plain


def _tar_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> SourceFile:
    """One member, read from the archive when asked for."""

    def read(limit: int) -> bytes:
        try:
            file = tar.extractfile(member)
            return file.read(min(limit, member.size)) if file else b""
        except _DAMAGE as error:
            raise Unreadable(f"damaged in the archive ({error})") from error

    return SourceFile(member.name, member.size if member.isfile() else 0, read, float(member.mtime))


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
