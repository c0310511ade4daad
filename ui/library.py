"""The library: the documents there are, and taking new ones in."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app import library
from app.errors import SourceError
from app.home import Home
from app.library import DocumentInfo
from app.worker import Worker
from ui.markup import count, dotted, safe, size

SAMPLE = Path(__file__).parent / "sample.txt"
SAMPLE_TITLE = "The King of the Golden River (John Ruskin)"
MOST_FILES = 2000
"""Files in one drop; more come as a zip."""

STATES = {"waiting": "waiting", "paused": "paused", "failed": "stopped by an error"}


def listing(home: Home, worker: Worker, chosen: str) -> str:
    """The documents as cards that open them, newest first."""
    documents = home.documents.list()
    if not documents:
        return ""
    cards = [_card(library.info(home, document), worker, document.id == chosen) for document in documents]
    heading = '<h2 class="or-side-title">Library</h2>'
    return f'{heading}<nav class="or-library" aria-label="Documents">{"".join(cards)}</nav>'


def _card(info: DocumentInfo, worker: Worker, chosen: bool) -> str:
    document = info.document
    facts = dotted(
        [
            count(document.tokens, "token") if document.tokens else count(document.chars, "character"),
            f"{size(info.state_bytes)} state" if info.complete else "",
            state_of(info, worker),
        ]
    )
    return (
        f'<button type="button" class="or-card" data-do="open" data-item="{safe(document.id)}"'
        f'{" aria-current=page" if chosen else ""}><span class="or-card-title">{safe(document.title)}</span>'
        f'<span class="or-card-facts">{safe(facts)}</span></button>'
    )


def state_of(info: DocumentInfo, worker: Worker) -> str:
    """In a word or two: how much of a document is read."""
    if info.complete:
        return "read"
    job = worker.status(info.document.id)
    if job is None or job.state == "done":
        return "not read yet"
    if job.state == "reading":
        return f"reading, {100 * job.done // max(job.total, 1)} %"
    return STATES[job.state]


def take_in(home: Home, uploaded: Sequence[str]) -> str:
    """Move uploaded files out of Gradio's folder, extract and keep their text; gives the document's id.

    The files themselves are gone afterwards, whatever happens: the library keeps the text. Raises SourceError.
    """
    if len(uploaded) > MOST_FILES:
        raise SourceError(f"{len(uploaded):,} files are more than {MOST_FILES:,} at once: put them into a zip archive")
    with _moved(home, [Path(name) for name in uploaded]) as paths:
        return library.add(home, paths).id


def take_sample(home: Home) -> str:
    """Put the sample book into the library (once); gives its id."""
    return library.add(home, [SAMPLE], SAMPLE_TITLE).id


@contextmanager
def _moved(home: Home, uploaded: Sequence[Path]) -> Iterator[list[Path]]:
    """The uploads under their own names in a folder of ours, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="upload-", dir=home.settings.home) as folder:
        yield [_move(path, Path(folder)) for path in uploaded]


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
