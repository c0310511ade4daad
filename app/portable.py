"""A document in one file, to take elsewhere: its text, its conversations, and the state of the model that read it.

The file is a zip archive: `document.json` with every fact and the layout of the state, `text.txt`, and each tensor's
bytes under `tensors/`. It comes from outside, so nothing in it is believed: sizes are capped whatever it says of them,
the text is hashed, quotes are looked up again, and the state must be one that the model here would have of this text,
by its maker and its tokens, with tensors of its shapes that pass their checksums. What no check can tell is whether who
made the file put other numbers into a state: take states from people whose answers you would take.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from xxhash import xxh3_128_hexdigest

from app import answers, dialogue, room, states
from app.answers import Generation, Prepared
from app.errors import OncereadError
from app.home import Home
from app.reading import ReadResult
from model.errors import StateError
from storage.blocks import Maker
from storage.conversations import Message
from storage.documents import Document, Heading, Segment, SkippedPart

FORMAT = 1
MOST_FACTS = 256 << 20
MOST_TEXT = 999_000_000
MOST_TENSOR = 64 << 20
MOST_MESSAGES = 100_000
"""Caps on what is unpacked: bytes, and messages."""

FACTS, TEXT = "document.json", "text.txt"
_DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, zlib.error)
"""What a member that is not as it was written raises."""
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Exported:
    """What went into a file. tokens: in its state, 0 without one."""

    document: str
    title: str
    tokens: int
    conversations: int
    bytes: int
    file: str


@dataclass(frozen=True)
class Imported:
    """What came out of a file. reason: why the state came in, or why it did not and the text has to be read."""

    document: str
    title: str
    tokens: int
    conversations: int
    reason: str


def export(home: Home, document_id: str, path: Path) -> Exported:
    """Write a document with all that belongs to it to `path`. Raises NotFound, StorageError, OncereadError."""
    document = home.documents.get(document_id)
    text = home.documents.text(document_id).encode("utf-8", "surrogatepass")
    talks = home.conversations.list(document_id)
    saved = [each for each in home.snapshots.find(document_id) if each.complete]
    mine = [each for each in saved if each.maker.model == home.fingerprint]
    snapshot = next(reversed(mine or saved), None)
    tensors = home.snapshots.load(snapshot.id) if snapshot else {}
    facts: dict[str, Any] = {
        "format": FORMAT,
        "document": {
            "title": document.title, "kind": document.kind, "pages": document.pages,
            "segments": [asdict(segment) for segment in document.segments],
            "skipped": [asdict(part) for part in document.skipped],
            "outline": [asdict(heading) for heading in home.documents.outline(document_id)],
            "sha256": hashlib.sha256(text).hexdigest(),
        },
        "conversations": [
            {"title": talk.title, "messages": [asdict(message) for message in talk.messages]} for talk in talks[::-1]
        ],
        "state": None,
    }
    if snapshot:
        rows = [
            {"name": name, "dtype": str(x.dtype).removeprefix("torch."), "shape": list(x.shape),
             "xxh3_128": xxh3_128_hexdigest(_raw(x))}
            for name, x in tensors.items()
        ]
        facts["state"] = asdict(snapshot.maker) | {
            "prefix": snapshot.prefix, "tokens": snapshot.tokens, "tensors": rows
        }
    part = path.with_name(path.name + ".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(FACTS, json.dumps(facts), zipfile.ZIP_DEFLATED)
            archive.writestr(TEXT, text, zipfile.ZIP_DEFLATED)
            for n, tensor in enumerate(tensors.values()):
                archive.writestr(f"tensors/{n}", _raw(tensor))
        part.replace(path)
    except OSError as error:
        raise OncereadError(f"{path} cannot be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)
    tokens = snapshot.tokens if snapshot else 0
    return Exported(document_id, document.title, tokens, len(talks), path.stat().st_size, str(path))


def bring_in(home: Home, path: Path) -> Imported:
    """Take a document in from a file that `export` wrote, here or elsewhere.

    Where its state cannot be used, the text and the conversations still come in, and the reason says why.
    Raises OncereadError for a file that is none of ours, is damaged or too large, ModelError and StorageError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            facts = json.loads(_member(archive, FACTS, MOST_FACTS))
            if not isinstance(facts, dict) or facts.get("format") != FORMAT:
                raise OncereadError(f"{path} is of a format this Onceread does not read: upgrade it")
            described = facts["document"]
            data = _member(archive, TEXT, MOST_TEXT)
            if hashlib.sha256(data).hexdigest() != described["sha256"]:
                raise OncereadError(f"{path} is damaged (its text is not what was exported): export it again")
            text = data.decode("utf-8", "surrogatepass")
            talks = _talks(facts["conversations"])
            segments = [_segment(n, each, len(text)) for n, each in enumerate(described["segments"])]
            pages = described["pages"] if isinstance(described["pages"], int) else None
            document = home.documents.add(
                str(described["title"])[:1000], str(described["kind"])[:100], text, segments,
                [SkippedPart(str(each["path"]), str(each["reason"])) for each in described["skipped"]], pages,
                [Heading(int(each["level"]), str(each["title"]), int(each["char_start"]))
                 for each in described["outline"]],
            )
            there = [_said(talk.messages) for talk in home.conversations.list(document.id)]
            new = [(title, messages) for title, messages in talks if _said(messages) not in there]
            for title, messages in new:
                id = home.conversations.start(document.id, title).id
                home.conversations.append(id, _checked(home, document, id, messages))
            tokens, reason = _take_state(home, document.id, text, facts["state"], archive)
    except FileNotFoundError as error:
        raise OncereadError(f"{path}: no such file") from error
    except OSError as error:
        raise OncereadError(f"{path} cannot be read ({error.strerror or error})") from error
    except _DAMAGE as error:
        raise OncereadError(f"{path} is no file that `onceread export` wrote, or is damaged ({error})") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise OncereadError(f"{path} is no file that `onceread export` wrote (its facts are odd: {error})") from error
    return Imported(document.id, document.title, tokens, len(new), reason)


def _take_state(
    home: Home, document_id: str, text: str, state: Mapping[str, Any] | None, archive: zipfile.ZipFile
) -> tuple[int, str]:
    """Save the file's state if it is the one this model would have; the tokens it has, and the reason in words."""
    if state is None:
        return 0, "the file holds no state: the document is read when it is asked about"
    engine = home.engine
    theirs = Maker(str(state["model"]), str(state["tokenizer"]), str(state["prompt_format"]))
    ours = states.maker_of(engine)
    if theirs != ours:
        what = states.what_differs(theirs, ours)
        return 0, f"its state was made with a different {what} and was left out: the document is read again when asked"
    ids = dialogue.document_ids(engine, text)
    prefixes = states.prefixes_of(engine, ids)
    if state["tokens"] != len(ids) or state["prefix"] != prefixes[len(ids)]:
        return 0, "its state is not one of this text and was left out: the document is read again when asked"
    states.check_budget(home, len(ids))
    try:
        tensors = _tensors(state["tensors"], archive, engine.state_bytes(len(ids)))
        value = engine.restore(len(ids), tensors)
    except (StateError, OncereadError, *_DAMAGE) as error:
        return 0, f"its state was left out ({error}): the document is read again when asked"
    evicted = states.make_room(home, document_id, len(ids))
    states.save(home, document_id, prefixes, value)
    home.documents.set_tokens(document_id, len(ids))
    return len(ids), "; ".join(filter(None, ["its state came in", room.was_let_go(room.named(home, evicted))]))


def _tensors(rows: Sequence[Mapping[str, Any]], archive: zipfile.ZipFile, most: int) -> dict[str, Tensor]:
    """The file's tensors, `most` bytes in all. Raises OncereadError if one is not what it says."""
    tensors: dict[str, Tensor] = {}
    for n, row in enumerate(rows):
        name, shape = str(row["name"]), [int(size) for size in row["shape"]]
        dtype = DTYPES.get(str(row["dtype"]))
        data = _member(archive, f"tensors/{n}", MOST_TENSOR)
        if dtype is None or min(shape, default=0) < 1 or len(data) != torch.Size(shape).numel() * dtype.itemsize:
            raise OncereadError(f"{name} has an odd shape")
        most -= len(data)
        if most < 0:
            raise OncereadError("it is larger than a state of this text")
        if xxh3_128_hexdigest(data) != row["xxh3_128"]:
            raise OncereadError(f"{name} is damaged")
        tensors[name] = torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
    return tensors


def _talks(talks: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Message]]]:
    found = []
    for talk in talks:
        messages = []
        for message in talk["messages"]:
            role, facts = message["role"], message["facts"]
            if role not in ("user", "assistant") or not isinstance(facts, dict):
                raise ValueError("a message of nobody")
            messages.append(Message(cast(Any, role), str(message["text"]), facts, float(message["created_at"])))
        found.append((str(talk["title"])[:1000], messages))
    if sum(len(messages) for _, messages in found) > MOST_MESSAGES:
        raise ValueError(f"more than {MOST_MESSAGES:,} messages")
    return found


def _said(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages]


def _checked(home: Home, document: Document, conversation: int, messages: Sequence[Message]) -> list[Message]:
    """The messages with what is known about each worked out here: every quote is looked up in the text again."""
    checked, question = [], ""
    for message in messages:
        facts: dict[str, Any] = {}
        if message.role == "user":
            question = message.text
        else:
            said = message.facts
            read = ReadResult(
                document.id, document.title, 0, _count(said, "tokens_read"), _count(said, "tokens_reused"),
                str(said.get("reason", ""))[:1000], 0.0, 0, (),
            )
            took = Generation(
                message.text, _count(said, "tokens_generated"), float(_count(said, "seconds_to_first_token")),
                float(_count(said, "seconds")), said.get("stopped") is True,
            )
            answer = answers.finish(home, Prepared(document.id, question, ()), read, took, conversation)
            facts = asdict(replace(answer, model=str(said.get("model", ""))[:100]))
        checked.append(replace(message, facts=facts))
    return checked


def _count(facts: Mapping[str, Any], name: str) -> Any:
    """A number of a message's facts, 0 for anything else."""
    value = facts.get(name)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    return value if sound else 0


def _segment(n: int, facts: Mapping[str, Any], chars: int) -> Segment:
    start, end, line = int(facts["char_start"]), int(facts["char_end"]), int(facts["line_start"])
    if not 0 <= start <= end <= chars or line < 0:
        raise ValueError("a part outside the text")
    page = None if facts["page"] is None else int(facts["page"])
    return Segment(n, start, end, str(facts["path"]), page, line)


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A member's bytes, at most `most`: what it says of its size is not believed. Raises OncereadError."""
    with archive.open(name) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise OncereadError(f"{name} in the file is larger than {most:,} bytes")
    return data


def _raw(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
