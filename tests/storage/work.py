"""Random work on a library, each step one transaction, with a digest of all that people would miss: for crash tests."""

import ctypes
import hashlib
import itertools
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from storage.blocks import Maker, Piece
from storage.conversations import Conversations, Message
from storage.database import Database
from storage.documents import DAMAGED as DAMAGED_PARTS
from storage.documents import DAMAGED_FACTS, Documents
from storage.errors import StorageError
from storage.snapshots import Snapshots

MAKER = Maker("model", "tokenizer", "prompt")
LETTERS = "abcdefghijklmnop"
DAMAGED = "damaged"


class Work:
    """A library at work: documents, conversations and states come, grow and go."""

    def __init__(self, path: Path, seed: int, wait_seconds: float = 30.0) -> None:
        self.database = Database(path, wait_seconds)
        self.documents = Documents(self.database)
        self.conversations = Conversations(self.database)
        self.snapshots = Snapshots(self.database)
        self.random = random.Random(seed)

    def step(self) -> None:
        """Something that people do, or that happens."""
        documents = self.documents.list()
        if len(documents) < 3:
            self.add()
            return
        id = self.random.choice(documents).id
        {
            "add": self.add,
            "remove": lambda: self.documents.remove(id),
            "read": lambda: self.read(id),
            "ask": lambda: self.ask(id),
            "evict": lambda: self.snapshots.evict(20_000, 0, id, MAKER),
        }[self.random.choices(["add", "remove", "read", "ask", "evict"], [2, 1, 10, 6, 2])[0]]()

    def add(self) -> None:
        """A new document of some pages of 16 KiB."""
        text = "".join(self.random.choices(LETTERS, k=self.random.choice([20, 20_000, 60_000])))
        self.documents.add(f"Document {self.random.random()}", "text", text, [], [], None)

    def read(self, id: str) -> None:
        """Read four tokens of a text on; texts begin alike."""
        known = max((state.tokens for state in self.snapshots.find(id)), default=0)
        text = LETTERS[: min(known + self.random.randint(1, 6), len(LETTERS))]
        pages = [
            Piece(text[: 4 * (n + 1)], 4 * (n + 1), {f"layers.1.latents.{n}": _tensor(text[: 4 * (n + 1)], 2000)})
            for n in range(len(text) // 4)
        ]
        end = Piece(text, len(text), {"layers.0.recurrent": _tensor(text, 5000)})
        self.snapshots.save(id, MAKER, pages, end, text == LETTERS, [text[: len(text) // 4 * 4]])

    def ask(self, id: str) -> None:
        """A question and an answer in the document's conversation."""
        talks = self.conversations.list(id)
        if not talks:
            self.conversations.start(id, "Who?")
            return
        question = "Who? " * self.random.randint(1, 3000)
        said = [Message("user", question, {}, 1.0), Message("assistant", "No", {"a": 1}, 2.0)]
        self.conversations.append(talks[0].id, said)

    def everything(self) -> dict[str, str]:
        """Each document, text, conversation and state, in words; what is refused as damaged is called that."""
        found = {}
        for document in self.documents.list():
            damaged = {DAMAGED_FACTS, DAMAGED_PARTS} & set(document.skipped)
            found[document.id] = DAMAGED if damaged else f"{document.title} {document.segments} {document.skipped}"
            found[f"text {document.id}"] = _tried(lambda id=document.id: self.documents.text(id))
            for state in self.snapshots.find(document.id):
                name = f"state {document.id} {state.prefix}"
                found[name] = _tried(lambda id=state.id: _sums(self.snapshots.load(id)))
            for talk in self.conversations.list(document.id):
                found[f"talk {talk.id}"] = _tried(lambda id=talk.id: repr([
                    (said.role, said.text, said.facts) for said in self.conversations.get(id).messages
                ]))
        return found

    def digest(self) -> str:
        """A hash of everything there is. Raises StorageError where something is damaged."""
        found = self.everything()
        if damaged := [name for name, words in found.items() if words == DAMAGED]:
            raise StorageError(f"damaged: {damaged}")
        return hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()[:16]


def _tried(load: Callable[[], str]) -> str:
    try:
        return load()
    except StorageError:
        return DAMAGED


def _sums(tensors: dict[str, torch.Tensor]) -> str:
    return repr(sorted((name, int(tensor.sum())) for name, tensor in tensors.items()))


def _tensor(text: str, count: int) -> torch.Tensor:
    """Numbers that a text decides."""
    return torch.randint(0, 1000, (count,), generator=torch.Generator().manual_seed(hash_of(text)))


def hash_of(text: str) -> int:
    """A number that a text decides, the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def acknowledged(path: Path, seed: int, steps: int) -> None:
    """Work, and after each step note its number and the digest in a file beside the library."""
    work = Work(path, seed)
    with open(path.with_name("acknowledged"), "ab", buffering=0) as notes:
        for n in range(steps):
            notes.write(f"{n} {work.digest()}\n".encode())
            work.step()
        notes.write(f"{steps} {work.digest()}\n".encode())


def on_a_full_disk(path: Path, seed: int, steps: int) -> tuple[int, int]:
    """Take each step with a disk that is full after 0, 1, 2 … writes, until it goes through.

    Returns how often the disk was full, and how often something was lost by it or the error had no words.
    """
    left = ctypes.c_long.in_dll(ctypes.CDLL(None), "shim_writes_left")
    work = Work(path, seed)
    full = lost = 0
    for _ in range(steps):
        before, luck = work.digest(), work.random.getstate()
        for writes in itertools.count():
            work.random.setstate(luck)
            left.value = writes
            try:
                work.step()
            except StorageError:  # also where not even the journal could be made: that "cannot be opened"
                full += 1
            except Exception:  # an error without words for people counts as a loss
                full, lost = full + 1, lost + 1
            else:
                left.value = -1
                break
            left.value = -1
            lost += work.digest() != before
    return full, lost


if __name__ == "__main__":
    _, task, where, seed_, steps_ = sys.argv
    if task == "acknowledged":
        acknowledged(Path(where), int(seed_), int(steps_))
    else:
        print(*on_a_full_disk(Path(where), int(seed_), int(steps_)))
