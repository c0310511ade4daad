"""An older library becomes a current one, with everything in it, after a copy was put aside."""

import sqlite3
from pathlib import Path

import pytest
import torch

from storage import migrations
from storage.blocks import Maker
from storage.database import Database
from storage.documents import Documents
from storage.errors import SnapshotDamaged, StorageError
from storage.seals import seal_before_blocks
from storage.snapshots import Snapshots
from storage.tensors import pack

MAKER = Maker("model", "tokenizer", "prompt")
STATE = {"layers.0.conv": torch.ones(3, 5), "layers.1.latents.0": torch.randn(4, 6).bfloat16()}


@pytest.fixture
def old(path: Path) -> Path:
    """A library of schema 1, with a finished state, one of an unfinished reading, and a conversation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:1])
        Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO documents VALUES ('abc', 'A book', 'text', ?, 4, 6, NULL, 1, 1)", (
        "29e6d74fcff90c4e7e3d2a0e7a3ff9a8ee8b4c3d5c1bd1e6dd9ed2c2a9ba5d6e",))
    connection.execute("INSERT INTO contents VALUES ('abc', '[[],[]]', '[]', 'once')")
    connection.execute("INSERT INTO conversations VALUES (1, 'abc', 'Who?', 1)")
    for id, prefix, complete in ((1, "all", True), (2, "half", False)):
        facts = ["abc", "model", "tokenizer", "prompt", prefix, 6, complete]
        rows = [pack(name, tensor) for name, tensor in STATE.items()]
        seal = seal_before_blocks(facts, {row["name"]: row["checksum"] for row in rows})
        connection.execute(
            "INSERT INTO snapshots VALUES (?, 'abc', 'model', 'tokenizer', 'prompt', ?, 1, 6, ?, 108, 1, 2, ?)",
            (id, prefix, complete, seal),
        )
        for row in rows:
            connection.execute(
                "INSERT INTO tensors (snapshot_id, name, dtype, shape, length, checksum, data) VALUES (?,?,?,?,?,?,?)",
                (id, *(row[key] for key in ("name", "dtype", "shape", "length", "checksum", "data"))),
            )
    connection.commit()
    connection.close()
    return path


def test_an_older_library_is_upgraded_after_a_copy_was_made(old: Path) -> None:
    before = old.read_bytes()
    database = Database(old)
    (state,) = Snapshots(database).find("abc")
    assert (state.maker, state.prefix, state.tokens, state.complete, state.bytes) == (MAKER, "all", 6, True, 108)
    loaded = Snapshots(database).load(state.id)
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], STATE[name]) for name in STATE)
    assert [(v.damaged, v.orphaned) for v in Snapshots(database).verify()] == [((), ())]
    assert [document.title for document in Documents(database).list()] == ["A book"]
    database.close()
    copy = old.with_name("library.sqlite.schema-1")
    assert copy.read_bytes() == before or sqlite3.connect(copy).execute("PRAGMA user_version").fetchone() == (1,)
    assert {path.name for path in old.parent.iterdir()} == {old.name, copy.name}
    Database(old).close()


def test_damage_of_before_is_still_seen_after(old: Path) -> None:
    connection = sqlite3.connect(old)
    connection.execute("UPDATE snapshots SET tokens = 7")
    connection.commit()
    connection.close()
    database = Database(old)
    (state,) = Snapshots(database).find("abc")
    with pytest.raises(SnapshotDamaged, match="does not fit its seal"):
        Snapshots(database).load(state.id)
    database.close()


def test_no_copy_no_upgrade(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match=r"cannot be backed up to .*schema-1 \(No space left on device\)"):
        Database(old)
    assert old.read_bytes() == before
    assert [path.name for path in old.parent.iterdir()] == [old.name]


def test_a_step_that_fails_leaves_the_library_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_connection: object) -> None:
        raise StorageError("no")

    monkeypatch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, fail])
    with pytest.raises(StorageError, match="no"):
        Database(old)
    monkeypatch.undo()
    database = Database(old)
    assert len(Snapshots(database).find("abc")) == 1
    database.close()
