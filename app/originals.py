"""The PDF files of documents, kept beside the database, so that a quote can be shown on its page as it was printed.

Pages are drawn by pypdfium2 where it is installed, in a process of its own: a PDF that crashes it or never ends costs
that one picture. Other kinds of file are not kept: their text is all there is to show.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from app.errors import OncereadError
from app.home import Home

SECONDS = 20
"""The longest a page may take to draw."""


def keep(home: Home, document_id: str, paths: Sequence[Path]) -> None:
    """Copy the PDF files among `paths` under their own names; others, and those in folders and archives, are not."""
    for path in paths:
        if path.suffix.lower() == ".pdf" and path.is_file():
            folder = _folder(home, document_id)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / path.name)
            except OSError as error:
                raise OncereadError(f"{path.name} cannot be kept in {folder} ({error.strerror})") from error


def files(home: Home, document_id: str) -> list[Path]:
    """The files of a document that are kept. Raises NotFound for another person's."""
    home.documents.get(document_id)
    folder = _folder(home, document_id)
    return sorted(folder.iterdir()) if folder.is_dir() else []


def remove(home: Home, document_id: str) -> None:
    """Forget a document's files."""
    shutil.rmtree(_folder(home, document_id), ignore_errors=True)


def has_pages(home: Home, document_id: str, path: str) -> bool:
    """Whether pages of this file of the document can be drawn."""
    return _file(home, document_id, path) is not None and importlib.util.find_spec("pypdfium2") is not None


def page_image(home: Home, document_id: str, path: str, page: int, quote: str) -> bytes:
    """A page (from 1) as PNG, with a quote marked on it where it is found.

    Raises NotFound for another person's document, OncereadError if the page cannot be drawn.
    """
    home.documents.get(document_id)
    file = _file(home, document_id, path)
    if file is None:
        raise OncereadError("this page cannot be drawn: its file was not kept; add it again to see it")
    command = [sys.executable, "-m", "app.pageimage", str(file), str(page)]
    try:
        drawn = subprocess.run(command, input=quote.encode(), capture_output=True, timeout=SECONDS, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        raise OncereadError(f"page {page} of {path} cannot be drawn: its text is shown instead") from error
    return drawn.stdout


def _folder(home: Home, document_id: str) -> Path:
    return home.settings.home / "originals" / document_id


def _file(home: Home, document_id: str, path: str) -> Path | None:
    """The kept file of this name; a name is never more than a name."""
    file = _folder(home, document_id) / Path(path).name
    return file if file.suffix.lower() == ".pdf" and file.is_file() else None
