"""Which reader a file is for. Every module of this room that has a READER adds one kind."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import PurePosixPath

import app.extract
from app.extract import text
from app.extract.parts import Reader


@cache
def readers() -> dict[str, Reader]:
    """The readers of all kinds but text, by kind."""
    names = [f"app.extract.{module.name}" for module in pkgutil.iter_modules(app.extract.__path__)]
    found = [getattr(importlib.import_module(name), "READER", None) for name in names]
    return {each.kind: each for each in found if isinstance(each, Reader) and each is not text.READER}


def reader_of(path: str, head: bytes) -> Reader:
    """The reader for a file by its name's ending, else by its first bytes, else the one of text."""
    suffix = PurePosixPath(path).suffix.lower()
    named = (reader for reader in readers().values() if suffix in reader.endings)
    begun = (reader for reader in readers().values() if reader.begins(head))
    return next(named, None) or next(begun, None) or text.READER
