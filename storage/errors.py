"""What can go wrong in storage, each an error of one line that says what to do.

    StorageError
        DatabaseTooNew    the file was written by a newer Onceread
        DatabaseDamaged   the file is damaged, or is no database of ours
        StorageFull       no space left; the last commit is intact
        SnapshotDamaged   a saved state does not pass its checksums
        NotFound          nothing under that id, title or name
"""

from collections.abc import Sequence


class StorageError(Exception):
    """Something about the library a person can understand and act on; shown as its message alone."""


class DatabaseTooNew(StorageError):
    """The database has a schema this version does not know."""


class DatabaseDamaged(StorageError):
    """The file is not a database of ours, or its contents are damaged."""


class StorageFull(StorageError):
    """The disk is full. What was committed before is intact."""


class NotFound(StorageError):
    """There is no such document, snapshot or conversation."""


class SnapshotDamaged(StorageError):
    """A saved state is damaged. document: its id; rows: the names of the tensors at fault (none: a fact is); blocks:
    the blocks at fault."""

    def __init__(self, document: str, rows: Sequence[str], what: str, blocks: Sequence[int] = ()) -> None:
        super().__init__(f"the saved state of document {document} {what}: read the document again")
        self.document = document
        self.rows = tuple(rows)
        self.blocks = tuple(blocks)
