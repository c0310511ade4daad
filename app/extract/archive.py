"""Which members of a zip archive are read, and why the others are not. Nothing is ever unpacked to disk."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from app.errors import SourceError
from app.extract.clean import label
from app.extract.folder import ARCHIVES, NOT_SOURCES
from app.extract.parts import DEPTH_LIMIT, FILE_LIMIT, MEGABYTE, Skip, SourceFile, Unreadable

TOTAL_LIMIT = 500 * MEGABYTE
"""Bytes of all members together, unpacked."""
RATIO_LIMIT = 200
"""Unpacked bytes for each packed one, asked only of members over a megabyte: small ones reach it honestly."""


def open_archive(archive: Path, prefix: str = "") -> tuple[list[SourceFile], list[Skip]]:
    """The members to read and the skips of a zip file; names start with `prefix`.

    Raises `SourceError` if the archive is broken, holds more than `FILE_LIMIT` entries or unpacks to more than
    `TOTAL_LIMIT`; OSError if it cannot be opened.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = sorted((m for m in opened.infolist() if not m.is_dir()), key=lambda m: m.filename)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:  # zipfile's ways of saying so
        raise SourceError(f"{archive.name}: the zip archive is broken or cut short ({error})") from error
    if len(members) > FILE_LIMIT:
        raise SourceError(
            f"{archive.name}: {len(members):,} files in the archive, more than the {FILE_LIMIT:,} allowed"
        )
    total = sum(member.file_size for member in members)
    if total > TOTAL_LIMIT:
        raise SourceError(
            f"{archive.name}: unpacks to {total / MEGABYTE:,.0f} MB, more than the {TOTAL_LIMIT // MEGABYTE} MB allowed"
        )
    files, skipped = [], []
    for member in members:
        name = label(prefix + member.filename)
        if reason := _reason_to_skip(member):
            skipped.append(Skip(name, reason))
        else:
            files.append(_member_file(archive, member, name))
    return files, skipped


def _member_file(archive: Path, member: zipfile.ZipInfo, name: str) -> SourceFile:
    """One member, read from the archive when asked for."""

    def read(limit: int) -> bytes:
        try:
            with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
                # Its directory promised `file_size` bytes, and the caps were checked against that promise.
                return file.read(min(limit, member.file_size + 1))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            # zipfile says NotImplementedError for a compression it does not know, RuntimeError for a password it lacks.
            raise Unreadable(f"damaged in the archive ({error})") from error

    return SourceFile(name, member.file_size, read)


def _reason_to_skip(member: zipfile.ZipInfo) -> str | None:
    """Why a member is not read, or None."""
    path = PurePosixPath(member.filename)
    for name in path.parts:
        if name in NOT_SOURCES:
            return NOT_SOURCES[name]
    if path.is_absolute() or ".." in path.parts:
        return "a name that leads out of the archive"
    if len(path.parts) > DEPTH_LIMIT + 1:
        return f"more than {DEPTH_LIMIT} folders deep"
    if member.flag_bits & 1:
        return "it is encrypted"
    if member.external_attr >> 28 == 0o12:
        return "a link"
    if path.suffix.lower() in ARCHIVES:
        return "an archive inside the archive (read it by itself)"
    if member.file_size > MEGABYTE and member.file_size > RATIO_LIMIT * max(member.compress_size, 1):
        return f"unpacks to over {RATIO_LIMIT} times its size (a zip bomb?)"
    return None
