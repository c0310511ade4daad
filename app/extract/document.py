"""The one door of this room: paths in, one text with places out."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from app.errors import SourceError
from app.extract.archive import open_archive
from app.extract.clean import label
from app.extract.folder import source_file, walk_folder
from app.extract.parts import (
    MEGABYTE,
    PDF_LIMIT,
    TEXT_LIMIT,
    Extracted,
    FileText,
    Part,
    Progress,
    Skip,
    SourceFile,
    Unreadable,
)
from app.extract.pdf import read_pdf
from app.extract.text import HEAD, decode, read_text

HEADER = "# File: {}\n"
"""Opens each file's text where a document is made of several."""
GAP = "\n\n"
"""Stands between two pages of a PDF, and after each file of a collection."""


def extract(paths: Sequence[Path], on_progress: Progress | None = None) -> Extracted:
    """The text of files, folders and zip archives, with places and an account of what was left out.

    One file gives its own text (a PDF: its pages, a blank line between them). Anything else gives a collection: the
    files sorted by path, each under a header line. Raises `SourceError`, one line, when there is nothing to read.
    """
    if not paths:
        raise SourceError("nothing to read: name a file, a folder or a zip archive")
    paths = [Path(path) for path in paths]
    kinds = [_what_is(path) for path in paths]
    if kinds == ["file"]:
        return _single(paths[0], on_progress)
    files, skipped = _gather(paths, kinds)
    return _collection(paths, files, skipped, on_progress)


def _what_is(path: Path) -> str:
    """`file`, `folder` or `zip`. Raises `SourceError` if it is missing, cannot be looked at, or is no such thing."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _os_error(path, error) from error
    except ValueError as error:  # a NUL in the name
        raise SourceError(f"{label(str(path))}: no such file or folder") from error
    if stat.S_ISDIR(mode):
        return "folder"
    if not stat.S_ISREG(mode):
        raise SourceError(f"{label(str(path))}: a device, pipe or socket, not a file or folder")
    return "zip" if path.suffix.lower() == ".zip" else "file"


def _os_error(path: Path, error: OSError) -> SourceError:
    """One line for what the system says about a path."""
    if isinstance(error, FileNotFoundError):
        return SourceError(f"{label(str(path))}: no such file or folder")
    return SourceError(f"{label(str(path))}: {(error.strerror or str(error)).lower()}")


def _single(path: Path, on_progress: Progress | None) -> Extracted:
    """A document made of one file: its text as it is."""
    try:
        source = source_file(path, path.name)
        read = _read(source, (lambda done, total: on_progress(done, total, source.path)) if on_progress else None)
    except Unreadable as error:
        raise SourceError(f"{label(str(path))}: {error}") from error
    except OSError as error:
        raise _os_error(path, error) from error
    if on_progress and not read.paged:
        on_progress(1, 1, source.path)
    text, parts = _join([(source.path, "", read)])
    return Extracted(
        title=read.title or PurePosixPath(source.path).stem,
        kind=read.kind,
        text=text,
        parts=parts,
        skipped=tuple(Skip(source.path, reason) for reason in read.skipped),
        pages=len(read.pages) if read.paged else None,
        notes=tuple((source.path, note) for note in read.notes),
    )


def _gather(paths: Sequence[Path], kinds: Sequence[str]) -> tuple[list[SourceFile], list[Skip]]:
    """The files behind several paths, a folder or an archive, and what is left out of them."""
    files: list[SourceFile] = []
    skipped: list[Skip] = []
    resolved = [Path(os.path.abspath(path)) for path in paths]
    common = Path(os.path.commonpath([path.parent for path in resolved]))
    for path, real, kind in zip(paths, resolved, kinds, strict=True):
        name = real.relative_to(common).as_posix()
        prefix = "" if len(paths) == 1 else f"{name}/"  # alone, its own name would only lengthen every place
        try:
            if kind == "folder":
                walk = walk_folder(path, prefix)
                found, left = walk.files, walk.skipped
            elif kind == "zip":
                found, left = open_archive(path, prefix)
            else:
                found, left = [source_file(path, name)], []
        except OSError as error:
            raise _os_error(path, error) from error
        files += found
        skipped += left
    unique = {file.path: file for file in files}  # the same file named twice, or again inside a named folder
    return sorted(unique.values(), key=lambda file: file.path.split("/")), skipped


def _collection(
    paths: Sequence[Path], files: Sequence[SourceFile], skipped: list[Skip], on_progress: Progress | None
) -> Extracted:
    """A document made of several files, each under its header line."""
    read: list[tuple[str, str, FileText]] = []
    for done, file in enumerate(files):
        if on_progress:
            on_progress(done, len(files), file.path)
        try:
            read.append((file.path, HEADER.format(file.path), _read(file)))
        except Unreadable as error:
            skipped.append(Skip(file.path, str(error)))
        except OSError as error:
            skipped.append(Skip(file.path, (error.strerror or str(error)).lower()))
    title = _collection_title([Path(os.path.abspath(path)) for path in paths])
    if not read:
        example = f": {len(skipped)} skipped, such as {skipped[0].path} ({skipped[0].reason})" if skipped else ""
        raise SourceError(f"{title}: nothing readable in it{example}")
    if on_progress:
        on_progress(len(files), len(files), title)
    for path, _, file_text in read:
        skipped += [Skip(path, reason) for reason in file_text.skipped]
    text, parts = _join(read)
    paged = [len(file_text.pages) for _, _, file_text in read if file_text.paged]
    notes = tuple((path, note) for path, _, file_text in read for note in file_text.notes)
    return Extracted(title, "collection", text, parts, tuple(skipped), sum(paged) if paged else None, notes)


def _collection_title(paths: Sequence[Path]) -> str:
    """The names of one or two paths (a file's without its ending), or the first and how many more."""
    names = [label(path.name if path.is_dir() else path.stem) or "files" for path in paths]
    return " and ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} more"


def _read(source: SourceFile, on_page: Callable[[int, int], None] | None = None) -> FileText:
    """Read one file by its kind. Raises `Unreadable`, or OSError from the file itself."""
    named_pdf = source.path.lower().endswith(".pdf")
    limit = PDF_LIMIT if named_pdf else TEXT_LIMIT
    data = source.read(HEAD if source.size > limit else limit + 1)
    if source.size > limit or len(data) > limit:
        if not named_pdf:
            decode(data[:HEAD])  # a large binary file is better called that
        megabytes = max(source.size, len(data)) / MEGABYTE
        what = "a PDF" if named_pdf else "a text file"
        raise Unreadable(f"{megabytes:,.1f} MB, more than the {limit // MEGABYTE} MB allowed for {what}: split it")
    if named_pdf or b"%PDF-" in data[:1024]:
        return read_pdf(data, on_page)
    return read_text(data, source.path)


def _join(files: Sequence[tuple[str, str, FileText]]) -> tuple[str, tuple[Part, ...]]:
    """Join (path, header line, text) of each file into one text; one part per file, or per page if it has pages."""
    pieces: list[str] = []
    parts: list[Part] = []
    end = 0
    for number, (path, header, file) in enumerate(files, 1):
        for page_number, page in enumerate(file.pages, 1):
            opening = header if page_number == 1 else ""
            last = number == len(files) and page_number == len(file.pages)
            piece = opening + page + ("" if last else GAP)
            line_start = 0 if opening else 1
            parts.append(Part(end, end + len(piece), path, page_number if file.paged else None, line_start))
            pieces.append(piece)
            end += len(piece)
    return "".join(pieces), tuple(parts)
