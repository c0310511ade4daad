"""What is said of state that made room."""

from pathlib import Path

import pytest

from app import library, room
from app.home import Home
from storage.snapshots import Eviction

MB = 1_000_000
STAY = "their texts and conversations stay, and each is read again when it is next asked about."


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ([], ""),
        ([("A tale", 1_240_000)],
         "To make room, the saved state of “A tale” (1.2 MB) was removed: its text and conversations stay, and it is "
         "read again when it is next asked about."),
        ([("A", MB), ("B", 2 * MB)],
         f"To make room, the saved states of “A” (1.0 MB) and “B” (2.0 MB) were removed: {STAY}"),
        ([("A", MB), ("B", MB), ("C", MB), (room.SOMEBODYS, MB)],
         "To make room, the saved states of “A” (1.0 MB), “B” (1.0 MB), “C” (1.0 MB) and a document of somebody else "
         f"(1.0 MB) were removed: {STAY}"),
        ([(name, MB) for name in "ABCDE"],
         "To make room, the saved states of “A” (1.0 MB), “B” (1.0 MB), “C” (1.0 MB) and 2 others (2.0 MB) were "
         f"removed: {STAY}"),
    ],
)  # fmt: skip
def test_words_of_what_made_room(documents: list[room.Named], words: str) -> None:
    assert room.sentence(room.was_let_go(documents)) == words
    ahead = words.replace("was removed", "will be removed").replace("were removed", "will be removed")
    assert room.sentence(room.will_be_let_go(documents)) == ahead


def test_a_document_is_named_once_and_only_to_its_owner(home: Home, book: Path) -> None:
    document = library.add(home.of("ann"), [book], "Hers")
    evicted = [Eviction(document.id, 3, 1, 0.0), Eviction(document.id, 4, 1, 0.0)]
    assert room.named(home.of("ann"), evicted) == (("Hers", 7),)
    assert room.named(home.of("bob"), evicted) == ((room.SOMEBODYS, 7),)
