"""Taking documents in: files dropped, text pasted, a path of this computer, what was exported, the sample book."""

import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from app import library, originals, portable
from app.errors import EXPLAINED, OncereadError, ScannedSource, SourceError
from app.home import Home
from app.library import Document
from app.roots import below_roots
from app.words import count
from ui.scans import Held, hold

SAMPLE = Path(__file__).parent / "sample.txt"
SAMPLE_TITLE = "The King of the Golden River (John Ruskin)"
MOST_FILES = 2000
"""Files in one drop; more come as a zip."""
LONGEST_PASTE = 20_000_000
MOST_DOCUMENTS = 2000
"""Of one person."""

BOOKS = {".pdf", ".epub", ".docx"}
"""Several files all of these kinds are as many documents; any others dropped together are one."""
EXPORTED = ".onceread"
"""The ending of a file that export wrote."""

_NOT_IN_NAMES = re.compile(r"[^\w -]")



@dataclass(eq=False)
class Taking:
    """Documents being taken in, in a thread: it goes on when the browser is gone.

    errors, told: lines about what failed and what did not; scans: files that only OCR could read.
    """

    words: str = "Taking in the text…"
    documents: list[Document] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    scans: Held | None = None
    finished: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> Iterator[str]:
        """What it is at, whenever that changes."""
        seen = ""
        while not self.finished.wait(0.3):
            if self.words != seen:
                seen = self.words
                yield seen

    def note(self, done: int, total: int, path: str) -> None:
        """Progress as `app.extract` tells it."""
        self.words = f"Taking in {Path(path).name}: {done:,} of {total:,}" if total > 1 else f"Taking in {path}"

    def add(self, home: Home, paths: Sequence[Path], title: str | None = None, ocr_language: str | None = None) -> None:
        """Take paths in as one document, and say so if it is in the library already."""
        before = {document.id for document in home.documents.list()}
        document = library.add(home, paths, title, self.note, ocr_language)
        self.documents.append(document)
        if document.id in before:
            self.told.append(f"“{document.title}” is in the library already: nothing was added.")

    def bring_in(self, home: Home, path: Path) -> None:
        """Take in what export wrote, and say what came with it."""
        brought = portable.bring_in(home, path)
        self.documents.append(home.documents.get(brought.document))
        state = f"{count(brought.tokens, 'token')} of saved state" if brought.tokens else "no saved state"
        talks = count(brought.conversations, "conversation")
        self.told.append(f"“{brought.title}” came in with {talks} and {state} ({brought.reason}).")


def start(work: Callable[[Taking], object]) -> Taking:
    """Do work in a thread; its errors for people are kept in the Taking."""
    taking = Taking()

    def run() -> None:
        try:
            work(taking)
        except EXPLAINED as error:
            taking.errors.append(str(error))
        except Exception:  # a fault of ours: said here, and its traceback goes to the terminal
            taking.errors.append("Taking it in failed; the terminal that runs Onceread says why.")
            raise
        finally:
            taking.finished.set()

    threading.Thread(target=run, name="intake", daemon=True).start()
    return taking


def files(home: Home, uploaded: Sequence[str]) -> Taking:
    """Move uploaded files out of Gradio's folder, at once, and take them in; the files are gone afterwards.

    Raises SourceError for too many.
    """
    folder, paths = _moved(home, [Path(name) for name in uploaded])

    def work(taking: Taking) -> None:
        with folder:
            _room(home)
            scanned = []
            for group in _groups(paths):
                try:
                    if group[0].suffix == EXPORTED:
                        taking.bring_in(home, group[0])
                    else:
                        taking.add(home, group)
                except EXPLAINED as error:
                    scanned += group if isinstance(error, ScannedSource) else []
                    taking.errors.append(f"{error}.".replace(f"{folder.name}/", ""))  # where it was is ours alone
            taking.scans = hold(home.settings.home, scanned) if scanned else None

    return start(work)


def by_ocr(home: Home, held: Held | None, document_id: str, language: str) -> Taking:
    """Take in files that were held for it, or those of a document, with their scanned pages read by OCR.

    Raises NotFound for another person's document, OncereadError where the files are gone.
    """
    paths = held.paths if held else originals.files(home, document_id)
    if not paths:
        raise OncereadError("the file is not here any more: add it again")

    def work(taking: Taking) -> None:
        with held.folder if held else nullcontext():
            for path in paths:
                taking.add(home, [path], ocr_language=language)

    return start(work)


def pasted(home: Home, title: str, text: str) -> Taking:
    """Take in a text that was typed or pasted. Raises OncereadError for an empty or a huge one."""
    if not text.strip():
        raise OncereadError("the text is empty: paste what is to be read")
    if len(text) > LONGEST_PASTE:
        raise OncereadError(f"{count(len(text), 'character')} are too many to paste: drop it as a file")
    name = " ".join(title.split())[:120] or " ".join(text.split())[:60]

    def work(taking: Taking) -> None:
        _room(home)
        with tempfile.TemporaryDirectory(prefix="upload-", dir=home.settings.home) as folder:
            path = Path(folder) / f"{_NOT_IN_NAMES.sub('_', name)[:80]}.txt"  # by its name a new version is known
            path.write_text(text, "utf-8", "replace")
            taking.add(home, [path], name)

    return start(work)


def from_path(home: Home, name: str) -> Taking:
    """Take in a file or folder of this computer, below the roots. Raises OncereadError."""
    path = below_roots(name)

    def work(taking: Taking) -> None:
        _room(home)
        taking.add(home, [path])

    return start(work)


def sample(home: Home) -> Document:
    """Put the sample book into the library (once)."""
    return library.add(home, [SAMPLE], SAMPLE_TITLE)


def _room(home: Home) -> None:
    if len(home.documents.list()) >= MOST_DOCUMENTS:
        raise OncereadError(f"the library is full ({MOST_DOCUMENTS:,} documents): remove some first")


def _groups(paths: Sequence[Path]) -> list[list[Path]]:
    """Which files are one document: each exported one, each book where all are books, and all others together."""
    exported = [[path] for path in paths if path.suffix == EXPORTED]
    others = [path for path in paths if path.suffix != EXPORTED]
    if all(path.suffix.lower() in BOOKS for path in others):
        return exported + [[path] for path in others]
    return [*exported, others]


def _moved(home: Home, uploaded: Sequence[Path]) -> tuple[tempfile.TemporaryDirectory[str], list[Path]]:
    """The uploads under their own names in a folder of ours, which is removed when its `with` ends."""
    if len(uploaded) > MOST_FILES:
        for path in uploaded:
            path.unlink(missing_ok=True)
        raise SourceError(f"{len(uploaded):,} files are more than {MOST_FILES:,} at once: put them into a zip archive")
    folder = tempfile.TemporaryDirectory(prefix="upload-", dir=home.settings.home)
    return folder, [_move(path, Path(folder.name)) for path in uploaded]


def _move(path: Path, folder: Path) -> Path:
    """Move one upload; a second file of the same name gets a number."""
    target, number = folder / path.name, 1
    while target.exists():
        number += 1
        target = folder / f"{path.stem} ({number}){path.suffix}"
    shutil.move(path, target)
    if not any(path.parent.iterdir()):
        path.parent.rmdir()
    return target
