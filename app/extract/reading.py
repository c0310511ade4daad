"""One file read by its kind: within limits, and in a sandbox unless it is plain text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from app.extract import text
from app.extract.paged import OnPage, read_pdf
from app.extract.parts import MEGABYTE, FileText, Heading, SourceFile, Unreadable
from app.extract.readers import reader_of, readers
from app.extract.sandbox import Sandbox, Tick


def read_file(
    source: SourceFile,
    sandboxes: Sequence[Sandbox],
    on_page: OnPage | None = None,
    as_source: bool = False,
    ocr_language: str | None = None,
) -> tuple[FileText, str]:
    """The text of a file and the hash of its bytes; `as_source` shows web pages as they are written, `ocr_language`
    has scanned pages read by OCR.

    `on_page` hears of each page, and while waiting. Raises `Unreadable`, or OSError from the file itself.
    """
    reader = reader_of(source.path, source.read(text.HEAD))
    if as_source and reader.kind == "html":
        reader = text.READER
    limit = reader.limit
    data = source.read(text.HEAD if source.size > limit else limit + 1)
    if source.size > limit or len(data) > limit:
        if not reader.sandboxed:
            text.decode(data[: text.HEAD])  # a large binary file is better called that
        megabytes = max(source.size, len(data)) / MEGABYTE
        what = "a text file" if reader is text.READER else f"a file of kind {reader.kind}"
        raise Unreadable(f"{megabytes:,.1f} MB, more than the {limit // MEGABYTE} MB allowed for {what}: split it")
    if not data:
        raise Unreadable("the file is empty")
    digest = hashlib.sha256(data).hexdigest()
    if reader.read is None:
        # With OCR the same bytes make another text.
        how = f"{digest} {ocr_language}" if ocr_language else digest
        return read_pdf(data, sandboxes, on_page, ocr_language), how
    if not reader.sandboxed:
        return reader.read(data, source.path), digest
    tick: Tick | None = (lambda: on_page(0, 1)) if on_page else None
    [read] = sandboxes[0].call(run_reader, data, source.path, reader.kind, tick=tick)
    return _file_text(read), digest


def run_reader(data: bytes, path: str, kind: str) -> Iterator[FileText]:
    """What a sandbox runs: the reader of a kind."""
    read = readers()[kind].read
    assert read is not None  # PDFs come through `read_pdf`
    yield read(data, path)


def _file_text(values: dict[str, Any]) -> FileText:
    """A text as it comes out of a sandbox."""
    outline = [Heading(**heading) for heading in values["outline"]]
    lists = {name: tuple(value) for name, value in (values | {"outline": outline}).items() if isinstance(value, list)}
    return FileText(**(values | lists))
