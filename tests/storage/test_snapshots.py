"""Saved states: exact, incremental, checked, and whole after a kill or a full disk."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from storage.database import Database
from storage.documents import Document, Documents
from storage.errors import NotFound, SnapshotDamaged, StorageError, StorageFull
from storage.snapshots import SnapshotKey, Snapshots
from tests.storage.conftest import KEY, on_every_use

Tensors = dict[str, torch.Tensor]


def _state(seed: int, mib: int = 0) -> Tensors:
    torch.manual_seed(seed)
    state = {
        "layers.0.recurrent": torch.randn(2, 3, 4),
        "layers.0.conv": torch.randn(3, 5).to(torch.bfloat16),
        "layers.1.latents.0": torch.randn(4, 6).to(torch.float16),
        "layers.1.latents.1": torch.randint(0, 9, (2, 6)),
        "scalar": torch.tensor(seed),
        "none": torch.empty(0, 7, dtype=torch.uint8),
    }
    return state | {f"big.{n}": torch.full((1 << 20,), seed, dtype=torch.uint8) for n in range(mib)}


def _same(one: Tensors, two: Tensors) -> bool:
    kinds = all(one[n].dtype == two[n].dtype and torch.equal(one[n], two[n]) for n in one.keys() & two.keys())
    return one.keys() == two.keys() and kinds


def _run(database: Database, statement: str, *values: object) -> None:
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")  # foreign keys can only be switched outside a transaction
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql(statement, values)
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")


def test_a_state_survives_reopening(database: Database, document: Document, path: Path) -> None:
    saved = Snapshots(database).save(document.id, KEY, 6, True, _state(1))
    database.close()
    reopened = Database(path)
    snapshots = Snapshots(reopened)
    loaded = snapshots.load(saved.id)
    assert _same(loaded, _state(1))
    loaded["layers.0.conv"] += 1  # loaded tensors are their own
    assert _same(snapshots.load(saved.id), _state(1))
    assert snapshots.latest(document.id, KEY) == saved
    assert snapshots.find(document.id) == [saved]
    assert snapshots.names(saved.id) == sorted(_state(1))
    assert (saved.tokens, saved.complete) == (6, True)
    assert saved.bytes == sum(tensor.nbytes for tensor in _state(1).values())
    reopened.close()


def test_saving_again_writes_keeps_and_drops(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    first = snapshots.save(document.id, KEY, 6, False, _state(1))
    changed = {"layers.0.recurrent": torch.ones(2), "layers.1.latents.2": torch.zeros(3)}
    second = snapshots.save(document.id, KEY, 9, True, changed, ["layers.1.latents.0", "layers.0.recurrent"])
    assert (second.id, second.tokens, second.complete) == (first.id, 9, True)
    assert _same(snapshots.load(first.id), changed | {"layers.1.latents.0": _state(1)["layers.1.latents.0"]})
    assert second.bytes == 2 * 4 + 3 * 4 + 4 * 6 * 2


def test_a_row_to_keep_that_is_gone_is_an_error_and_changes_nothing(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    saved = snapshots.save(document.id, KEY, 6, False, _state(1))
    with pytest.raises(StorageError, match=r"layers\.9 is gone\): read it again"):
        snapshots.save(document.id, KEY, 9, False, _state(2), ["layers.9"])
    assert snapshots.latest(document.id, KEY) == saved
    assert _same(snapshots.load(saved.id), _state(1))


@pytest.mark.parametrize("part", ["model", "tokenizer", "prompt_format", "prefix"])
def test_another_key_never_matches(database: Database, document: Document, part: str) -> None:
    snapshots = Snapshots(database)
    snapshots.save(document.id, KEY, 6, True, _state(1))
    other = SnapshotKey(**{**vars(KEY), part: "different"})
    assert snapshots.latest(document.id, other) is None
    second = snapshots.save(document.id, other, 6, True, _state(2))
    assert [s.key for s in snapshots.find(document.id)] == [KEY, other]
    snapshots.touch(snapshots.find(document.id)[0].id)
    assert [s.key for s in snapshots.find(document.id)] == [other, KEY]
    snapshots.remove(second.id)
    assert [s.key for s in snapshots.find(document.id)] == [KEY]
    with pytest.raises(NotFound, match="read the document again"):
        snapshots.load(second.id)


def test_a_tensor_beyond_64_mib_is_refused(database: Database, document: Document) -> None:
    with pytest.raises(ValueError, match="save it in pages"):
        Snapshots(database).save(document.id, KEY, 1, True, {"x": torch.empty((64 << 20) + 1, dtype=torch.uint8)})


def test_a_document_that_is_gone(database: Database) -> None:
    with pytest.raises(NotFound, match="no document gone"):
        Snapshots(database).save("gone", KEY, 1, True, _state(1))


@pytest.mark.parametrize(
    "damage",
    ["data = x'00' || substr(data, 2)", "data = substr(data, 2)", "dtype = 'float16'", "shape = '5,3'",
     "name = 'layers.0.convx'", "checksum = CAST(x'ff' AS TEXT)", "data = zeroblob(0)", "data = 3"],
)
def test_a_damaged_row_is_named(database: Database, document: Document, damage: str) -> None:
    snapshots = Snapshots(database)
    saved = snapshots.save(document.id, KEY, 6, True, _state(1))
    _run(database, f"UPDATE tensors SET {damage} WHERE name = 'layers.0.conv'")
    with pytest.raises(SnapshotDamaged, match=f"document {document.id} is damaged .*layers.0.conv") as caught:
        snapshots.load(saved.id)
    assert caught.value.document == document.id
    assert len(caught.value.rows) == 1
    (verdict,) = snapshots.verify()
    assert verdict.damaged == (f"{caught.value.rows[0]}: checksum differs",)


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM tensors WHERE name = 'scalar'", "UPDATE snapshots SET tokens = 7",
     "UPDATE snapshots SET prefix = 'p'"],
)
def test_a_lost_row_or_a_changed_fact_breaks_the_seal(database: Database, document: Document, statement: str) -> None:
    snapshots = Snapshots(database)
    saved = snapshots.save(document.id, KEY, 6, True, _state(1))
    _run(database, statement)
    with pytest.raises(SnapshotDamaged, match="does not fit its seal"):
        snapshots.load(saved.id)
    assert "seal" in snapshots.verify()[0].damaged[0]


def test_a_bit_flipped_in_the_file_is_found(database: Database, document: Document, path: Path) -> None:
    saved = Snapshots(database).save(document.id, KEY, 6, True, {"page": torch.full((1 << 20,), 7, dtype=torch.uint8)})
    database.close()
    content = bytearray(path.read_bytes())
    at = content.index(b"\x07" * 1000)
    content[at + 500] ^= 16
    path.write_bytes(content)
    reopened = Database(path)
    with pytest.raises(SnapshotDamaged, match="page"):
        Snapshots(reopened).load(saved.id)
    reopened.close()


def test_another_format_is_not_read(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    saved = snapshots.save(document.id, KEY, 6, True, _state(1))
    _run(database, "UPDATE snapshots SET format = 2")
    with pytest.raises(SnapshotDamaged, match="is in format 2, this Onceread reads format 1: read the document again"):
        snapshots.load(saved.id)


def test_verify_finds_nothing_in_a_sound_library_and_orphans_in_another(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    other = Documents(database).add("b", "text", "b", [], [], None)
    one = snapshots.save(document.id, KEY, 6, True, _state(1))
    two = snapshots.save(other.id, KEY, 6, True, {"x": torch.ones(2)})
    assert [(v.snapshot, v.damaged, v.orphaned) for v in snapshots.verify()] == [(one.id, (), ()), (two.id, (), ())]
    _run(database, "DELETE FROM snapshots WHERE id = ?", one.id)
    _run(database, "DELETE FROM documents WHERE id = ?", other.id)
    found = {verdict.snapshot: verdict for verdict in snapshots.verify()}
    assert found[one.id].orphaned == tuple(sorted(_state(1)))
    assert found[two.id].orphaned == ("x",)
    assert not found[one.id].damaged


def test_a_full_disk_keeps_the_last_state(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    saved = snapshots.save(document.id, KEY, 6, False, _state(1, mib=1))
    on_every_use(database, "max_page_count = 200")
    with pytest.raises(StorageFull):
        snapshots.save(document.id, KEY, 9, True, _state(2, mib=8))
    assert snapshots.latest(document.id, KEY) == saved
    assert _same(snapshots.load(saved.id), _state(1, mib=1))
    smaller = snapshots.save(document.id, KEY, 9, True, _state(2, mib=1))
    assert _same(snapshots.load(smaller.id), _state(2, mib=1))


def test_removing_gives_the_bytes_back(database: Database, document: Document, path: Path) -> None:
    snapshots = Snapshots(database)
    before = path.stat().st_size
    saved = snapshots.save(document.id, KEY, 6, True, _state(1, mib=5))
    assert path.stat().st_size > 5 << 20
    snapshots.remove(saved.id)
    assert path.stat().st_size <= before + 100_000


SAVE = """
import sys
from pathlib import Path
from storage.database import Database
from storage.snapshots import Snapshots
from tests.storage.conftest import KEY
from tests.storage.test_snapshots import _state
snapshots = Snapshots(Database(Path(sys.argv[1])))
print("ready", flush=True)
for n in range(1, 10_000):
    snapshots.save(sys.argv[2], KEY, n, False, _state(n, mib=6))
    print(n, flush=True)
"""


def test_a_kill_in_the_middle_of_saving_keeps_the_last_commit(
    database: Database, document: Document, path: Path
) -> None:
    snapshots = Snapshots(database)
    snapshots.save(document.id, KEY, 0, False, _state(0, mib=6))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SAVE, str(path), document.id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline() == "1\n"
    journal = path.with_name(path.name + "-journal")
    deadline = time.monotonic() + 10
    while not (journal.exists() and journal.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.0005)  # until a later save is under way
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    acknowledged = int(rest[-1]) if rest else 1
    found = snapshots.latest(document.id, KEY)
    assert found is not None
    assert found.tokens in (acknowledged, acknowledged + 1)  # the kill may fall between commit and print
    assert _same(snapshots.load(found.id), _state(found.tokens, mib=6))
    assert [(v.damaged, v.orphaned) for v in snapshots.verify()] == [((), ())]
