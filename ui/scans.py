"""Uploads that turned out to be pictures of pages, kept for a while: a person may have them read by OCR."""

import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST = 20
"""Drops kept, of everybody."""


@dataclass(frozen=True)
class Held:
    """Files in a folder that goes when its `with` ends."""

    folder: "tempfile.TemporaryDirectory[str]"
    paths: tuple[Path, ...]


def hold(home: Path, paths: Sequence[Path]) -> Held:
    """Move files to a folder of their own in the data folder."""
    folder = tempfile.TemporaryDirectory(prefix="scan-", dir=home)
    return Held(folder, tuple(Path(shutil.move(path, Path(folder.name) / path.name)) for path in paths))


class Scans:
    """Whose files wait for an answer to the offer of OCR. A restart forgets them, and so does a later offer."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str], Held] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, person: str, held: Held) -> str:
        """Keep a person's files; gives the word that they are asked for with."""
        token = secrets.token_urlsafe(9)
        with self._lock:
            self._held[person, token] = held
            if len(self._held) > MOST:
                self._held.popitem(last=False)[1].folder.cleanup()
        return token

    def take(self, person: str, token: str) -> Held | None:
        """A person's files, which are kept no longer; None if there are none such."""
        with self._lock:
            return self._held.pop((person, token), None)

    def end(self) -> None:
        """Drop all files."""
        with self._lock:
            while self._held:
                self._held.popitem()[1].folder.cleanup()
