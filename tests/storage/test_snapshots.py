"""Saved states: exact, shared where texts begin alike, checked, and whole after a kill or a full disk."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from storage.blocks import Maker, Piece
from storage.database import Database
from storage.documents import Document, Documents
from storage.errors import NotFound, SnapshotDamaged, StorageFull
from storage.schema import BlockRow
from storage.snapshots import Snapshot, Snapshots
from tests.storage.conftest import MAKER, on_every_use

Tensors = dict[str, torch.Tensor]


def _state(seed: int, mib: int = 0) -> Tensors:
    torch.manual_seed(seed)
    state = {
        "layers.0.recurrent": torch.randn(2, 3, 4),
        "layers.0.conv": torch.randn(3, 5).to(torch.bfloat16),
        "layers.1.latents.9": torch.randint(0, 9, (2, 6)),
        "scalar": torch.tensor(seed),
        "none": torch.empty(0, 7, dtype=torch.uint8),
    }
    return state | {f"big.{n}": torch.full((1 << 20,), seed, dtype=torch.uint8) for n in range(mib)}


def _page(n: int, text: str) -> Piece:
    """Page n of a text whose tokens are its letters, four a page."""
    prefix = text[: 4 * (n + 1)]
    return Piece(prefix, len(prefix), {f"layers.1.latents.{n}": torch.tensor([ord(c) for c in prefix[4 * n :]])})


def _end(text: str, tensors: Tensors | None = None) -> Piece:
    return Piece(text, len(text), tensors or _state(len(text)))


def _save(
    snapshots: Snapshots, document: Document, text: str, complete: bool = True, keep: tuple[str, ...] = (),
    maker: Maker = MAKER,
) -> Snapshot:
    """Save the state after a text's letters."""
    pages = [_page(n, text) for n in range(len(text) // 4)]
    return snapshots.save(document.id, maker, pages, _end(text), complete, keep)


def _whole(text: str) -> Tensors:
    """All that `_save` saves."""
    return _state(len(text)) | {k: v for n in range(len(text) // 4) for k, v in _page(n, text).tensors.items()}


def _same(one: Tensors, two: Tensors) -> bool:
    kinds = all(one[n].dtype == two[n].dtype and torch.equal(one[n], two[n]) for n in one.keys() & two.keys())
    return one.keys() == two.keys() and kinds


def _run(database: Database, statement: str, *values: object) -> None:
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")  # foreign keys can only be switched outside a transaction
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql(statement, values)
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")


def _blocks(database: Database) -> list[tuple[str, int]]:
    with database.reading() as session:
        return sorted((row.kind, row.tokens) for row in session.query(BlockRow))


def test_a_state_survives_reopening(database: Database, document: Document, path: Path) -> None:
    saved = _save(Snapshots(database), document, "abcdefghij")
    database.close()
    reopened = Database(path)
    snapshots = Snapshots(reopened)
    loaded = snapshots.load(saved.id)
    assert _same(loaded, _whole("abcdefghij"))
    loaded["layers.0.conv"] += 1  # loaded tensors are their own
    assert _same(snapshots.load(saved.id), _whole("abcdefghij"))
    assert snapshots.find(document.id) == [saved]
    assert snapshots.along(document.id, MAKER, {9: "x", 10: "abcdefghij"}) == [saved]
    assert (saved.tokens, saved.complete, saved.documents) == (10, True, (document.id,))
    assert saved.bytes == snapshots.bytes() == sum(tensor.nbytes for tensor in _whole("abcdefghij").values())
    reopened.close()


def test_a_state_is_loaded_onto_a_device(database: Database, document: Document) -> None:
    saved = _save(Snapshots(database), document, "abcdefghij")
    loaded = Snapshots(database).load(saved.id, "meta")  # the one device beside the CPU that every computer has
    shapes = {name: (tensor.dtype, tensor.shape) for name, tensor in _whole("abcdefghij").items()}
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in loaded.items()} == shapes
    assert {tensor.device.type for tensor in loaded.values()} == {"meta"}


def test_going_on_keeps_the_pages_and_drops_the_end_before(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    _save(snapshots, document, "abcdef", complete=False)
    assert snapshots.whole(document.id, MAKER) is None
    second = _save(snapshots, document, "abcdefghij")
    assert snapshots.whole(document.id, MAKER) == 10
    assert snapshots.find(document.id) == [second]
    assert _blocks(database) == [("page", 4), ("page", 8), ("state", 10)]
    assert _same(snapshots.load(second.id), _whole("abcdefghij"))


def test_a_state_all_of_whose_tensors_are_in_pages(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    saved = snapshots.save(document.id, MAKER, [_page(0, "abcd")], Piece("abcd", 4, {}), True)
    assert _same(snapshots.load(saved.id), dict(_page(0, "abcd").tensors))
    assert not any(verdict.damaged for verdict in snapshots.verify())


def test_checkpoints_stay_where_they_are_kept(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    for text in ("abcd", "abcdef", "abcdefgh", "abcdefghij"):
        _save(snapshots, document, text, text == "abcdefghij", keep=("abcd", "abcdefgh"))
    found = snapshots.along(document.id, MAKER, {len(x): x for x in ("abcd", "abcdef", "abcdefgh", "abcdefghij")})
    assert [(state.tokens, state.complete) for state in found] == [(10, True), (8, False), (4, False)]
    assert all(_same(snapshots.load(state.id), _whole("abcdefghij"[: state.tokens])) for state in found)


def test_texts_that_begin_alike_share_and_outlive_each_other(database: Database, document: Document) -> None:
    snapshots, documents = Snapshots(database), Documents(database)
    other = documents.add("b", "text", "b", [], [], None)
    _save(snapshots, document, "abcdefgh", complete=False, keep=("abcdefgh",))
    _save(snapshots, document, "abcdefghij", keep=("abcdefgh",))
    grown = {n: "abcdefghXYZW"[:n] for n in (4, 8, 12)}
    (shared,) = snapshots.along(other.id, MAKER, grown)
    assert (shared.tokens, shared.documents, shared.complete) == (8, (document.id,), False)
    before = snapshots.bytes()
    _save(snapshots, other, grown[12], keep=(grown[8],))
    assert snapshots.bytes() - before == sum(x.nbytes for x in _state(12).values()) + 4 * 8  # one page and one end
    assert snapshots.bytes(document.id) + snapshots.bytes(other.id) > snapshots.bytes()
    documents.remove(document.id)
    assert [state.tokens for state in snapshots.find(other.id)] == [8, 12]
    assert _same(snapshots.load(snapshots.along(other.id, MAKER, grown)[0].id), _whole(grown[12]))
    assert not [verdict for verdict in snapshots.verify() if verdict.damaged or verdict.orphaned]
    documents.remove(other.id)
    assert _blocks(database) == []


def test_a_page_that_was_lost_meanwhile_is_written_again(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    first = _save(snapshots, document, "abcdef", complete=False)
    snapshots.discard([first.id])
    assert _blocks(database) == []
    assert _same(snapshots.load(_save(snapshots, document, "abcdefghij").id), _whole("abcdefghij"))


@pytest.mark.parametrize("part", ["model", "tokenizer", "prompt_format"])
def test_another_maker_never_matches(database: Database, document: Document, part: str) -> None:
    snapshots = Snapshots(database)
    first = _save(snapshots, document, "abcde")
    other = replace(MAKER, **{part: "different"})
    assert snapshots.along(document.id, other, {5: "abcde"}) == []
    assert (snapshots.whole(document.id, MAKER), snapshots.whole(document.id, other)) == (5, None)
    second = _save(snapshots, document, "abcde", maker=other)
    assert [s.maker for s in snapshots.find(document.id)] == [MAKER, other]
    snapshots.touch(document.id, first.id)
    assert [s.maker for s in snapshots.find(document.id)] == [other, MAKER]
    snapshots.discard([second.id])
    assert [s.maker for s in snapshots.find(document.id)] == [MAKER]
    with pytest.raises(NotFound, match="read the document again"):
        snapshots.load(second.id)


def test_a_tensor_beyond_64_mib_is_refused(database: Database, document: Document) -> None:
    large = _end("a", {"x": torch.empty((64 << 20) + 1, dtype=torch.uint8)})
    with pytest.raises(ValueError, match="save it in pages"):
        Snapshots(database).save(document.id, MAKER, [], large, True)


def test_a_document_that_is_gone(database: Database) -> None:
    with pytest.raises(NotFound, match="no document gone"):
        Snapshots(database).save("gone", MAKER, [], _end("a"), True)


@pytest.mark.parametrize(
    "damage",
    ["data = x'00' || substr(data, 2)", "data = substr(data, 2)", "dtype = 'float16'", "shape = '5,3'",
     "name = 'layers.0.convx'", "checksum = CAST(x'ff' AS TEXT)", "data = zeroblob(0)", "data = 3",
     "encoding = 'zstd'", "encoding = 'other'", "length = length + 1"],
)
def test_a_damaged_row_is_named(database: Database, document: Document, damage: str) -> None:
    snapshots = Snapshots(database)
    saved = _save(snapshots, document, "abcdef")
    _run(database, f"UPDATE tensors SET {damage} WHERE name = 'layers.0.conv'")
    with pytest.raises(SnapshotDamaged, match=f"document {document.id} is damaged .*layers.0.conv") as caught:
        snapshots.load(saved.id)
    assert (caught.value.document, caught.value.blocks) == (document.id, (saved.id,))
    assert len(caught.value.rows) == 1
    assert [v.damaged for v in snapshots.verify()] == [(), (f"{caught.value.rows[0]}: checksum differs",)]


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM tensors WHERE name = 'scalar'", "UPDATE blocks SET tokens = 7 WHERE kind = 'state'",
     "UPDATE blocks SET prefix = 'p' WHERE kind = 'state'", "UPDATE blocks SET seal = 'x' WHERE kind = 'state'",
     "UPDATE blocks SET parent_id = NULL WHERE kind = 'state'", "UPDATE blocks SET parent_id = id"],
)
def test_a_lost_row_or_a_changed_fact_breaks_the_seal(database: Database, document: Document, statement: str) -> None:
    snapshots = Snapshots(database)
    saved = _save(snapshots, document, "abcdef")
    _run(database, statement)
    with pytest.raises(SnapshotDamaged, match="does not fit its seal"):
        snapshots.load(saved.id)
    assert any("seal" in words for v in snapshots.verify() for words in v.damaged)


def test_a_page_is_mended_only_by_the_tensors_that_were_sealed(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    saved = _save(snapshots, document, "abcdefghij")
    _run(database, "UPDATE tensors SET data = zeroblob(length) WHERE name = 'layers.1.latents.1'")
    with pytest.raises(SnapshotDamaged) as caught:
        snapshots.load(saved.id)
    (block,) = caught.value.blocks
    assert snapshots.place(block) == ("page", 8)
    assert not snapshots.mend(block, _page(1, "abcdEFGHij").tensors)
    with pytest.raises(SnapshotDamaged):
        snapshots.load(saved.id)
    assert snapshots.mend(block, _page(1, "abcdefghij").tensors)
    assert _same(snapshots.load(saved.id), _whole("abcdefghij"))
    assert not snapshots.mend(99, {})
    assert snapshots.place(99) is None


def test_room_is_made_by_what_was_used_longest_ago(database: Database, document: Document) -> None:
    snapshots, documents = Snapshots(database), Documents(database)
    texts = ["aaaaa", "bbbbb", "ccccc"]
    saved = [document, *(documents.add(x, "text", x, [], [], None) for x in "bc")]
    for each, text in zip(saved, texts, strict=True):
        _save(snapshots, each, text)
    documents.touch(document.id)
    one = snapshots.bytes(document.id)
    assert snapshots.evict(3 * one, 0, saved[2].id, MAKER) == []
    (evicted,) = snapshots.evict(3 * one, one, saved[2].id, MAKER)
    assert (evicted.document_id, evicted.bytes, evicted.tokens) == (saved[1].id, one, 5)
    assert snapshots.eviction(saved[1].id) == evicted
    assert [len(snapshots.find(each.id)) for each in saved] == [1, 0, 1]
    assert len(documents.list()) == 3
    _save(snapshots, saved[1], "bbbbb")
    assert snapshots.eviction(saved[1].id) is None


def test_a_bit_flipped_in_the_file_is_found(database: Database, document: Document, path: Path) -> None:
    end = _end("a", {"page": torch.full((1 << 20,), 7, dtype=torch.uint8)})
    saved = Snapshots(database).save(document.id, MAKER, [], end, True)
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
    saved = _save(snapshots, document, "abc")
    _run(database, "UPDATE blocks SET format = 2")
    with pytest.raises(SnapshotDamaged, match="is in format 2, this Onceread reads format 1: read the document again"):
        snapshots.load(saved.id)


def test_verify_finds_nothing_in_a_sound_library_and_orphans_in_another(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    other = Documents(database).add("b", "text", "b", [], [], None)
    one, two = _save(snapshots, document, "abcdef"), _save(snapshots, other, "x")
    assert [(v.documents, v.damaged, v.orphaned) for v in snapshots.verify()] == [
        ((document.id,), (), ()), ((document.id,), (), ()), ((other.id,), (), ())
    ]
    _run(database, "DELETE FROM blocks WHERE id = ?", one.id)
    _run(database, "DELETE FROM documents WHERE id = ?", other.id)
    found = {verdict.snapshot: verdict for verdict in snapshots.verify()}
    assert found[one.id].orphaned == tuple(sorted(_state(6)))
    assert found[two.id].orphaned == tuple(sorted(_state(1)))
    assert not [verdict for verdict in found.values() if verdict.damaged]


def test_a_full_disk_keeps_the_last_state(database: Database, document: Document) -> None:
    snapshots = Snapshots(database)
    saved = snapshots.save(document.id, MAKER, [], _end("a", _state(1, mib=1)), False)
    on_every_use(database, "max_page_count = 200")
    with pytest.raises(StorageFull):
        snapshots.save(document.id, MAKER, [], _end("ab", _state(2, mib=8)), True)
    assert snapshots.find(document.id) == [saved]
    assert _same(snapshots.load(saved.id), _state(1, mib=1))
    smaller = snapshots.save(document.id, MAKER, [], _end("ab", _state(2, mib=1)), True)
    assert _same(snapshots.load(smaller.id), _state(2, mib=1))


def test_removing_gives_the_bytes_back(database: Database, document: Document, path: Path) -> None:
    snapshots = Snapshots(database)
    before = path.stat().st_size
    saved = snapshots.save(document.id, MAKER, [], _end("a", _state(1, mib=50)), True)
    assert path.stat().st_size > 50 << 20
    snapshots.discard([saved.id])
    assert path.stat().st_size <= before + 100_000


SAVE = """
import sys
from pathlib import Path
from storage.database import Database
from storage.snapshots import Snapshots
from tests.storage.conftest import MAKER
from tests.storage.test_snapshots import Piece, _state
snapshots = Snapshots(Database(Path(sys.argv[1])))
print("ready", flush=True)
for n in range(1, 10_000):
    snapshots.save(sys.argv[2], MAKER, [], Piece(f"after {n}", n, _state(n, mib=6)), False)
    print(n, flush=True)
"""


def test_a_kill_in_the_middle_of_saving_keeps_the_last_commit(
    database: Database, document: Document, path: Path
) -> None:
    snapshots = Snapshots(database)
    snapshots.save(document.id, MAKER, [], Piece("after 0", 0, _state(0, mib=6)), False)
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
    (found,) = snapshots.find(document.id)
    assert found.tokens in (acknowledged, acknowledged + 1)  # the kill may fall between commit and print
    assert _same(snapshots.load(found.id), _state(found.tokens, mib=6))
    assert [(v.damaged, v.orphaned) for v in snapshots.verify()] == [((), ())]
