"""A document in one file: it comes back whole, in other hands too; a hostile file does no harm."""

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app import dialogue, library, portable, reading, session
from app.errors import OncereadError
from app.home import Home
from app.settings import Settings
from model.sampling import Sampling
from tests import checkpoints

TEXT = "The miller kept the key under the stone.\nNobody knew of it but the winter."


@pytest.fixture
def other(tmp_path: Path, settings: Settings) -> Iterator[Home]:
    """Somebody else's library on the same model."""
    opened = Home(replace(settings, home=tmp_path / "other"))
    yield opened
    opened.close()


@pytest.fixture
def exported(home: Home, tmp_path: Path) -> Path:
    """A file with a document that was read and asked about."""
    source = tmp_path / "mill.txt"
    source.write_text(TEXT, "utf-8")
    document = library.add(home, [source])
    *_, answer = session.ask(home, document.id, "Where is the key?", sampling=Sampling(max_tokens=4))
    assert isinstance(answer, session.Answer)
    said = 'Quote: "kept the key under the stone"\nAnswer: Under the stone.'
    talk = home.conversations.get(answer.conversation)
    message = replace(talk.messages[1], text=said, facts=talk.messages[1].facts | {"raw": said})
    home.conversations.append(talk.id, [talk.messages[0], message])
    path = tmp_path / "mill.onceread"
    result = portable.export(home, document.id, path)
    assert (result.title, result.conversations, result.bytes) == (document.title, 1, path.stat().st_size)
    assert result.tokens == home.documents.get(document.id).tokens
    return path


def logits(home: Home, document_id: str) -> torch.Tensor:
    """Of the token after a question."""
    _, state = reading.read_state(home, document_id)
    return home.engine.next_logits(state, dialogue.question_ids(home.engine, (), "Who?"))[1]


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> None:
    """Change a file's facts and members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    facts = json.loads(members.pop("document.json"))
    change(facts, members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("document.json", json.dumps(facts))
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_document_comes_back_whole(home: Home, other: Home, exported: Path) -> None:
    result = portable.bring_in(other, exported)
    (document,) = home.documents.list()
    assert (result.document, result.title, result.conversations) == (document.id, document.title, 1)
    assert (result.tokens, result.reason) == (document.tokens, "its state came in")
    assert other.documents.text(document.id) == TEXT
    assert other.documents.get(document.id).segments == document.segments
    assert reading.read(other, document.id).tokens_read == 0
    assert torch.equal(logits(other, document.id), logits(home, document.id))
    (talk,), (theirs,) = home.conversations.list(document.id), other.conversations.list(document.id)
    assert [(m.role, m.text, m.created_at) for m in theirs.messages] == [
        (m.role, m.text, m.created_at) for m in talk.messages
    ]
    assert theirs.messages[1].facts["tokens_read"] == talk.messages[1].facts["tokens_read"]
    assert theirs.messages[3].facts["citations"][0]["verified"]
    again = portable.bring_in(other, exported)
    assert (again.document, again.conversations) == (document.id, 0)
    assert len(other.conversations.list(document.id)) == 1


def test_an_unread_document_travels_as_text(home: Home, other: Home, book: Path, tmp_path: Path) -> None:
    document = library.add(home, [book])
    assert portable.export(home, document.id, tmp_path / "file").tokens == 0
    result = portable.bring_in(other, tmp_path / "file")
    assert (result.tokens, result.reason) == (
        0, "the file holds no state: the document is read when it is asked about"
    )


def test_a_state_of_another_model_stays_out_and_the_text_comes_in(
    tmp_path: Path, settings: Settings, exported: Path
) -> None:
    other = Home(replace(settings, home=tmp_path / "o", model=checkpoints.write(tmp_path / "other model", seed=1)))
    result = portable.bring_in(other, exported)
    assert result.tokens == 0
    assert result.reason.startswith("its state was made with a different model and was left out")
    assert (other.documents.text(result.document), result.conversations) == (TEXT, 1)
    assert other.snapshots.find(result.document) == []
    other.close()


def _text(_facts: dict[str, Any], members: dict[str, bytes]) -> None:
    members["text.txt"] += b"!"


def _format(facts: dict[str, Any], _members: dict[str, bytes]) -> None:
    facts["format"] = 99


def _segment(facts: dict[str, Any], _members: dict[str, bytes]) -> None:
    facts["document"]["segments"][0]["char_end"] = 10**9


def _role(facts: dict[str, Any], _members: dict[str, bytes]) -> None:
    facts["conversations"][0]["messages"][0]["role"] = "system"


def _lacking(facts: dict[str, Any], _members: dict[str, bytes]) -> None:
    del facts["document"]["title"]


def _list(facts: dict[str, Any], _members: dict[str, bytes]) -> None:
    facts["document"] = [1, 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [(_text, "is damaged"), (_format, "upgrade"), (_segment, "outside the text"), (_role, "nobody"),
     (_lacking, "title"), (_list, "no file that")],
)
def test_a_file_that_is_odd_is_refused_whole(
    other: Home, exported: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None], words: str
) -> None:
    rewrite(exported, change)
    with pytest.raises(OncereadError, match=words):
        portable.bring_in(other, exported)
    assert other.documents.list() == []


def _other_tokens(facts: dict[str, Any], _members: dict[str, bytes]) -> None:
    facts["state"]["prefix"] = "0" * 64


def _bit(_facts: dict[str, Any], members: dict[str, bytes]) -> None:
    members["tensors/0"] = bytes([members["tensors/0"][0] ^ 1]) + members["tensors/0"][1:]


def _shape(facts: dict[str, Any], _members: dict[str, bytes]) -> None:
    facts["state"]["tensors"][0]["shape"] = [-1, 2]


def _fewer(facts: dict[str, Any], _members: dict[str, bytes]) -> None:
    facts["state"]["tensors"].pop()


def _bomb(facts: dict[str, Any], members: dict[str, bytes]) -> None:
    for n in range(3):
        row = {"name": f"x{n}", "dtype": "float32", "shape": [1 << 20], "xxh3_128": "?"}
        facts["state"]["tensors"].insert(0, row)
        members[f"tensors/{n}"] = bytes(4 << 20)


@pytest.mark.parametrize(
    ("change", "words"),
    [(_other_tokens, "not one of this text"), (_bit, "is damaged"), (_shape, "odd shape"), (_fewer, "lacks"),
     (_bomb, "larger than a state")],
)
def test_a_state_that_is_odd_stays_out(
    other: Home, exported: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None], words: str
) -> None:
    rewrite(exported, change)
    result = portable.bring_in(other, exported)
    assert result.tokens == 0
    assert words in result.reason
    assert other.snapshots.find(result.document) == []
    assert reading.read(other, result.document).tokens_reused == 0


def test_a_damaged_state_stays_out_and_the_text_and_what_was_said_come_in(other: Home, exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        one = next(each for each in archive.infolist() if each.filename.startswith("tensors/"))
    data = bytearray(exported.read_bytes())
    data[one.header_offset + 30 + len(one.filename) + one.compress_size // 2] ^= 1
    exported.write_bytes(data)
    came = portable.bring_in(other, exported)
    assert (came.tokens, came.conversations) == (0, 1)
    assert "state was left out" in came.reason
    assert other.documents.text(came.document) == TEXT


def test_what_a_message_claims_is_looked_up_again(other: Home, exported: Path) -> None:
    def lie(facts: dict[str, Any], _members: dict[str, bytes]) -> None:
        message = facts["conversations"][0]["messages"][1]
        message["text"] = 'Quote: "the miller was a thief"\nAnswer: A thief.'
        message["facts"] = {"citations": [{"quote": "<script>", "verified": True}], "tokens_read": "many"}

    rewrite(exported, lie)
    id = portable.bring_in(other, exported).document
    facts = other.conversations.list(id)[0].messages[1].facts
    assert [(each["quote"], each["verified"]) for each in facts["citations"]] == [("the miller was a thief", False)]
    assert (facts["answer"], facts["tokens_read"]) == ("A thief.", 0)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + b"\0" * 100])
def test_a_file_of_another_kind_is_one_clear_line(other: Home, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(OncereadError, match="no file that `onceread export` wrote"):
        portable.bring_in(other, path)


def test_a_truncated_file_is_refused(other: Home, exported: Path) -> None:
    exported.write_bytes(exported.read_bytes()[:-400])
    with pytest.raises(OncereadError, match="no file that `onceread export` wrote"):
        portable.bring_in(other, exported)
    with pytest.raises(OncereadError, match="no such file"):
        portable.bring_in(other, exported.with_name("nowhere"))


def test_nothing_is_left_where_it_cannot_be_written(home: Home, exported: Path, tmp_path: Path) -> None:
    (document,) = home.documents.list()
    with pytest.raises(OncereadError, match="cannot be written"):
        portable.export(home, document.id, tmp_path / "no folder" / "file")
