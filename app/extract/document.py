"""The one door of this room: paths in, one text with places out."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from app.errors import ScannedSource, SourceError
from app.extract.archive import is_archive, open_archive
from app.extract.clean import label
from app.extract.codebase import INDEX, in_order, index_of, is_codebase
from app.extract.folder import source_file, walk_folder
from app.extract.ocr import check_ocr
from app.extract.parts import (
    GAP,
    MEGABYTE,
    Extracted,
    FileText,
    Heading,
    Part,
    Progress,
    Scanned,
    Skip,
    SourceFile,
    Unreadable,
)
from app.extract.reading import OnPage, read_file
from app.extract.sandbox import Sandbox

HEADER = "# File: {}\n"
"""Opens each file's text where a document is made of several."""
COLLECTION_LIMIT = 500 * MEGABYTE
"""Characters of a collection: a hundred times what a million tokens hold."""
_MOST_PROCESSES = 8


def extract(
    paths: Sequence[Path], on_progress: Progress | None = None, ocr_language: str | None = None
) -> Extracted:
    """The text of files, folders, repositories and archives, with places and an account of what was left out.

    One file gives its own text (a PDF: its pages, a blank line between them). Anything else gives a collection: the
    files sorted by path, each under a header line; if it is a codebase, those that changed last come last, and an index
    stands first. With an `ocr_language` scanned pages are read by OCR. Raises `SourceError`, one line, when there is
    nothing to read.
    """
    if ocr_language:
        check_ocr(ocr_language)
    if not paths:
        raise SourceError("nothing to read: name a file, a folder or an archive")
    paths = [Path(path) for path in paths]
    kinds = [_what_is(path) for path in paths]
    with _sandboxes() as sandboxes:
        if kinds == ["file"]:
            return _single(paths[0], sandboxes, on_progress, ocr_language)
        with ExitStack() as opened:
            files, skipped = _gather(paths, kinds, opened, sandboxes[0], on_progress)
            return _collection(paths, files, skipped, sandboxes, on_progress, ocr_language)


@contextmanager
def _sandboxes() -> Iterator[list[Sandbox]]:
    """One for each processor; they start when used and end here."""
    made = [Sandbox() for _ in range(min(_MOST_PROCESSES, os.cpu_count() or 1))]
    try:
        yield made
    finally:
        for sandbox in made:
            sandbox.stop()


def _what_is(path: Path) -> str:
    """`file`, `folder` or `archive`. Raises `SourceError` if it is missing, cannot be looked at, or is neither."""
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
    return "archive" if is_archive(path) else "file"


def _os_error(path: Path, error: OSError) -> SourceError:
    """One line for what the system says about a path."""
    if isinstance(error, FileNotFoundError):
        return SourceError(f"{label(str(path))}: no such file or folder")
    return SourceError(f"{label(str(path))}: {(error.strerror or str(error)).lower()}")


def _single(
    path: Path, sandboxes: Sequence[Sandbox], on_progress: Progress | None, ocr_language: str | None
) -> Extracted:
    """A document made of one file: its text as it is."""
    try:
        source = source_file(path, path.name)
        on_page: OnPage | None = partial(_pages_of, on_progress, source.path) if on_progress else None
        read, digest = read_file(source, sandboxes, on_page, ocr_language=ocr_language)
    except Unreadable as error:
        kind = ScannedSource if isinstance(error, Scanned) else SourceError
        raise kind(f"{label(str(path))}: {error}") from error
    except OSError as error:
        raise _os_error(path, error) from error
    if on_progress and not read.paged:
        on_progress(1, 1, source.path)
    text, parts, outline = _join([(source.path, "", read)])
    return Extracted(
        title=read.title or PurePosixPath(source.path).stem,
        kind=read.kind,
        text=text,
        parts=parts,
        skipped=tuple(Skip(source.path, reason) for reason in read.skipped),
        pages=len(read.pages) if read.paged else None,
        notes=tuple((source.path, note) for note in read.notes),
        outline=outline,
        origin=source.path,
        digest=digest,
    )


def _pages_of(on_progress: Progress, path: str, done: int, total: int) -> None:
    on_progress(done, total, path)


def _files_of(on_progress: Progress, files: int, of: int, path: str, _done: int, _total: int) -> None:
    on_progress(files, of, path)


def _gather(
    paths: Sequence[Path], kinds: Sequence[str], opened: ExitStack, sandbox: Sandbox, on_progress: Progress | None
) -> tuple[list[SourceFile], list[Skip]]:
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
            elif kind == "archive":
                tick = partial(on_progress, 0, 1, name) if on_progress else None
                found, left = open_archive(path, opened, sandbox, prefix, tick)
            else:
                found, left = [source_file(path, name)], []
        except OSError as error:
            raise _os_error(path, error) from error
        files += found
        skipped += left
    unique = {file.path: file for file in files}  # the same file named twice, or again inside a named folder
    return sorted(unique.values(), key=lambda file: file.path.split("/")), skipped


def _collection(
    paths: Sequence[Path],
    files: Sequence[SourceFile],
    skipped: list[Skip],
    sandboxes: Sequence[Sandbox],
    on_progress: Progress | None,
    ocr_language: str | None,
) -> Extracted:
    """A document made of several files, each under its header line."""
    code = is_codebase(files)
    read: list[tuple[str, str, FileText]] = []
    digests = []
    size = 0
    for done, file in enumerate(in_order(files) if code else files):
        on_page: OnPage | None = partial(_files_of, on_progress, done, len(files), file.path) if on_progress else None
        if on_page:
            on_page(0, 1)
        if size + file.size > COLLECTION_LIMIT:
            skipped.append(Skip(file.path, f"with it the text would be over {COLLECTION_LIMIT // MEGABYTE} MB"))
            continue
        try:
            file_text, digest = read_file(file, sandboxes, on_page, code, ocr_language)
            read.append((file.path, HEADER.format(file.path), file_text))
            digests.append(f"{digest} {file.path}")
            size += sum(map(len, file_text.pages))
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
    paged = [len(file_text.pages) for _, _, file_text in read if file_text.paged]
    notes = tuple((path, note) for path, _, file_text in read for note in file_text.notes)
    if code and len(read) > 1:
        read.insert(0, (INDEX, "", index_of([path for path, _, _ in read])))
    text, parts, outline = _join(read)
    return Extracted(
        title, "collection", text, parts, tuple(skipped), sum(paged) if paged else None, notes, outline,
        origin="\n".join(sorted(label(path.name) for path in paths)),
        digest=hashlib.sha256("\n".join(sorted(digests)).encode("utf-8", "surrogatepass")).hexdigest(),
    )


def _collection_title(paths: Sequence[Path]) -> str:
    """The names of one or two paths (a file's without its ending), or the first and how many more."""
    names = [label(path.name if path.is_dir() else path.stem) or "files" for path in paths]
    return " and ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} more"


def _join(files: Sequence[tuple[str, str, FileText]]) -> tuple[str, tuple[Part, ...], tuple[Heading, ...]]:
    """Join (path, header line, text) of each file into one text: one part per file, or per page if it has pages, and
    the headings, those of a file with a header line below one for the file.
    """
    pieces: list[str] = []
    parts: list[Part] = []
    outline: list[Heading] = []
    end = 0
    for number, (path, header, file) in enumerate(files, 1):
        outline += [Heading(1, path, end)] if header else []
        begun = end + len(header)
        outline += [Heading(h.level + bool(header), h.title, begun + h.char_start) for h in file.outline]
        for page_number, page in enumerate(file.pages, 1):
            opening = header if page_number == 1 else ""
            last = number == len(files) and page_number == len(file.pages)
            piece = opening + page + ("" if last else GAP)
            line_start = (file.line_starts[page_number - 1] if file.line_starts else 1) - bool(opening)
            parts.append(Part(end, end + len(piece), path, page_number if file.paged else None, line_start))
            pieces.append(piece)
            end += len(piece)
    return "".join(pieces), tuple(parts), tuple(outline)
