"""What documents are called where several are named: by their titles, and where two share one, by what differs."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from app.home import Home
from storage.documents import Document

ID_CHARS = 4
"""Of an id that tell documents apart; more only if as many are not enough."""


def names(home: Home) -> dict[str, str]:
    """What each document of the library is called, by its id."""
    return told_apart(home.documents.list())


def told_apart(documents: Iterable[Document]) -> dict[str, str]:
    """What each of these documents is called, by its id: its title, and if another has the same, in brackets the first
    of these that is different for all of them: the name of its file, the day or the minute it was added, its id."""
    alike: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        alike[document.title].append(document)
    called: dict[str, str] = {}
    for title, same in alike.items():
        marks = next(marks for marks in _marks(same) if len({*marks}) == len(same) and all(marks))
        called |= {d.id: f"{title} ({mark})" if len(same) > 1 else title for d, mark in zip(same, marks, strict=True)}
    return called


def _marks(documents: list[Document]) -> Iterator[list[str]]:
    """A mark for each document, of one kind after another; the last, whole ids, are always different."""
    kinds: list[Callable[[Document], str]] = [
        _file,
        lambda document: time.strftime("added %Y-%m-%d", time.localtime(document.created_at)),
        lambda document: time.strftime("added %Y-%m-%d %H:%M", time.localtime(document.created_at)),
    ]
    for kind in kinds:
        yield [kind(document) for document in documents]
    for length in range(ID_CHARS, max(len(document.id) for document in documents) + 1):
        yield [document.id[:length] for document in documents]


def _file(document: Document) -> str:
    """The name of the file that a document was made from; empty if it was made from several."""
    return "" if "\n" in document.origin else document.origin.rsplit("/", 1)[-1]
