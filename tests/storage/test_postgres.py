"""The same library in PostgreSQL: a real server, started for these tests on a socket of its own."""

import os
import pwd
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from app import reading
from app.home import Home
from app.reports.job import Job, Run, create
from app.reports.template import parse
from app.settings import Settings
from model.sampling import Sampling
from storage import migrations
from storage.composed import ComposedAnswers
from storage.conversations import Conversations, Message
from storage.database import Database
from storage.documents import Documents, Segment, SkippedPart
from storage.errors import DatabaseDamaged, DatabaseTooNew, SnapshotDamaged, StorageError
from storage.evidence import PassageIndex
from storage.leases import Leases
from storage.reports import Cell, Cells
from storage.snapshots import Snapshots
from tests.storage.conftest import MAKER
from tests.storage.test_snapshots import _end, _page, _same, _save, _whole

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))  # .ci/run installs it


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A folder with the socket of a running server, which does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="onceread-postgres-"))
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        shutil.chown(folder, user)

    def program(name: str, *arguments: str) -> None:
        command = [str(PROGRAMS / name), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder, env={"LC_ALL": "C"})

    data = str(folder / "data")
    program("initdb", "-D", data, "-A", "trust", "-U", "onceread", "-E", "UTF8", "--no-sync")
    settings = f"-c listen_addresses='' -k {folder} -c fsync=off"
    program("pg_ctl", "-D", data, "-l", str(folder / "log"), "-o", settings, "-w", "start")
    yield str(folder)
    program("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """An empty database of this test's own."""
    name = f"t{abs(hash(request.node.name))}"
    command = [str(PROGRAMS / "createdb"), "-h", server, "-U", "onceread", name]
    subprocess.run(command, check=True)
    return f"postgresql://onceread@/{name}?host={server}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url, wait_seconds=5)
    yield opened
    opened.close()


def test_documents_and_conversations(database: Database) -> None:
    documents = Documents(database)
    text = "Καλημέρα\x00 \ud800 one\r\ntwo"  # a NUL and a lone surrogate too
    parts = [Segment(0, 0, len(text), "a\x00.pdf", 1, 1)]
    added = documents.add("Title \udce9", "pdf", text, parts, [SkippedPart("b.bin", "no text")], 2)
    assert documents.get(added.id) == added
    assert documents.text(added.id) == text
    assert documents.add("Again", "pdf", text, [], [], None) == added
    conversations = Conversations(database)
    talk = conversations.start(added.id, "Who?")
    message = Message("user", "Who?", {"n": [1, None, "\x00"]}, 1.5)
    conversations.append(talk.id, [message])
    assert conversations.get(talk.id).messages == (message,)
    composed = ComposedAnswers(database)
    number = composed.add("Who?", [added.id], {"answer": "\ud800"})
    assert composed.get(number).question == "Who?"
    documents.remove(added.id)
    assert documents.list() == []
    assert composed.list() == []


def test_states_are_shared_checked_mended_and_evicted(database: Database) -> None:
    documents, snapshots = Documents(database), Snapshots(database)
    one, two = (documents.add(x, "text", x, [], [], None) for x in "ab")
    _save(snapshots, one, "abcdefgh", complete=False, keep=("abcdefgh",))
    saved = _save(snapshots, one, "abcdefghij", keep=("abcdefgh",))
    assert _same(snapshots.load(saved.id), _whole("abcdefghij"))
    _save(snapshots, two, "abcdefghXYZ")
    assert snapshots.bytes(one.id) + snapshots.bytes(two.id) > snapshots.bytes()
    with database.writing() as session:
        session.connection().exec_driver_sql(
            "UPDATE tensors SET data = substring(data from 1 for 31) || '\\x07'::bytea "
            "WHERE name = 'layers.1.latents.0'"
        )
    with pytest.raises(SnapshotDamaged) as caught:
        snapshots.load(saved.id)
    assert caught.value.rows == ("layers.1.latents.0",)
    assert sum(bool(verdict.damaged) for verdict in snapshots.verify()) == 1
    assert snapshots.mend(caught.value.blocks[0], _page(0, "abcd").tensors)
    assert _same(snapshots.load(saved.id), _whole("abcdefghij"))
    (evicted,) = snapshots.evict(snapshots.bytes(two.id), 0, two.id, MAKER)
    assert evicted.document_id == one.id
    assert snapshots.bytes() == snapshots.bytes(two.id)
    documents.remove(two.id)
    assert snapshots.bytes() == 0
    assert snapshots.verify() == []


def test_a_state_in_gigabytes_can_be_counted(database: Database) -> None:
    document = Documents(database).add("a", "text", "a", [], [], None)
    saved = Snapshots(database).save(document.id, MAKER, [], _end("a"), True)
    with database.writing() as session:
        session.connection().exec_driver_sql("UPDATE blocks SET bytes = 8500000000")
    assert Snapshots(database).bytes() == 8_500_000_000
    assert Snapshots(database).find(document.id)[0].id == saved.id


def test_writers_take_turns_and_lose_nothing(url: str, database: Database) -> None:
    document = Documents(database).add("a", "text", "a", [], [], None)
    others = [Database(url) for _ in range(3)]

    def work(own: Database) -> None:
        for n in range(5):
            Conversations(own).start(document.id, "from a thread")
            Documents(own).add("same", "text", f"same {n}", [], [], None)

    threads = [threading.Thread(target=work, args=(own,)) for own in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Conversations(database).list(document.id)) == 15
    assert len(Documents(database).list()) == 6
    for own in others:
        own.close()


def test_a_lease_is_held_by_one(database: Database) -> None:
    leases = Leases(database)
    with leases.hold("a") as ours, leases.hold("a") as again, leases.hold("b") as other:
        assert (ours, again, other) == (True, False, True)
    with leases.hold("a") as ours:
        assert ours


@pytest.mark.parametrize("apart", [-3600.0, 3600.0])
def test_machines_whose_clocks_differ_share_leases_and_claims(
    database: Database, apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Documents(database).add("a", "text", "a", [], [], None)
    cell, here = Cell("1", document.id, "q", "state", "hash", {}, "found"), time.time
    with Leases(database).hold("a") as ours:
        assert ours
        assert Cells(database).claim([cell], "here", 60) == ["1"]
        monkeypatch.setattr(time, "time", lambda: here() + apart)  # the other machine
        with Leases(database).hold("a") as theirs:
            assert not theirs
        assert Cells(database).claim([cell], "there", 60) == []


def test_of_many_workers_at_once_one_gets_each_cell(url: str, database: Database) -> None:
    document = Documents(database).add("a", "text", "a", [], [], None)
    wanted = [Cell(str(n), document.id, "q", "state", "hash", {}, "found") for n in range(20)]
    Cells(database).claim(wanted[:5], "lost", -1)  # whose time is over
    own = [Database(url) for _ in range(4)]
    got: dict[int, list[str]] = {}

    def work(n: int) -> None:
        got[n] = [key for each in wanted for key in Cells(own[n]).claim([each], f"w{n}", 60)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key for keys in got.values() for key in keys) == sorted(cell.key for cell in wanted)
    cells = Cells(database)
    assert not cells.put(wanted[0], "lost")
    answered = {cell.key: sum(cells.put(cell, f"w{n}") for n in range(4)) for cell in wanted}
    assert set(answered.values()) == {1}
    assert cells.workers() == []
    assert cells.get(answered).keys() == answered.keys()
    assert cells.claim(wanted, "late", 60) == []
    for each in own:
        each.close()


def test_two_machines_share_the_cells_of_a_report(url: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    homes = [Home(Settings(tmp_path / name, tiny_checkpoint, "cpu", database=url)) for name in ("one", "two")]
    texts = [f"Text number {n}." for n in range(4)]
    whole = [Segment(0, 0, len(texts[0]), "text.txt", None, 1)]
    ids = [homes[0].documents.add(text, "text", text, whole, [], None).id for text in texts]
    template = parse("t.yaml", "questions:\n" + "".join(f"  - {{id: q{n}, ask: 'What is {n}?'}}\n" for n in range(3)))
    job = create(homes[0], template, ids, tmp_path / "out", Sampling(max_tokens=8))
    runs = [Run(Job(home, home.reports.get(job.id))) for home in homes]
    threads = [threading.Thread(target=each.all) for each in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs[0].new) + len(runs[1].new) == 12
    assert runs[0].done() == runs[1].done() == 12
    assert not {cell.state for each in runs for cell in each.new.values()} & {"failed", "missing"}
    assert homes[0].cells.workers() == []
    for home in homes:
        home.close()


def test_waiting_for_another_writer_ends_in_words(url: str, database: Database) -> None:
    impatient = Database(url, wait_seconds=0.2)
    started = time.monotonic()
    with database.writing() as session:
        session.connection()
        with pytest.raises(StorageError, match=r"another Onceread was busy .* for 0\.2 seconds"):
            Documents(impatient).add("a", "text", "a", [], [], None)
    assert time.monotonic() - started < 5
    impatient.close()


def test_newer_and_foreign_databases_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, lambda _connection: None])
        Database(url).close()
    with pytest.raises(DatabaseTooNew, match="newer Onceread"):
        Database(url)
    monkeypatch.setattr(migrations, "VERSION_TABLE", "elsewhere")
    with pytest.raises(DatabaseDamaged, match="another program"):
        Database(url)


@pytest.mark.parametrize(
    "address", ["postgresql://someone:secret@/none?host=/nowhere", "postgresql://ann:secret@127.0.0.1:1/none"]
)
def test_a_server_that_is_not_there_is_one_line_without_the_password(address: str) -> None:
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        Database(address, wait_seconds=2)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reading_resumes_from_it_to_the_same_bits(url: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    settings = Settings(tmp_path / "home", tiny_checkpoint, "cpu", database=url)
    home = Home(settings)
    document = home.documents.add("Book", "text", "The miller kept the key under the stone. " * 20, [], [], None)
    result, state = reading.read_state(home, document.id)
    assert result.tokens_read == result.tokens
    home.close()
    reopened = Home(replace(settings, home=tmp_path / "elsewhere"))
    again, restored = reading.read_state(reopened, document.id)
    assert (again.tokens_read, again.reason) == (0, "saved state found")
    ours, theirs = (reopened.engine.next_logits(each, [5, 6])[1] for each in (restored, state))
    assert torch.equal(ours, theirs)
    reopened.close()


def test_passages_are_found_by_their_words(database: Database) -> None:
    index = PassageIndex(database)
    words = ["The mill stood by the river.", "The river froze; it's\x00.", "She wrote letters to the miller's wife."]
    index.build("d0c", [(10 * n, 10 * n + 9, said) for n, said in enumerate(words)])
    index.build("d0c", [])  # there already
    assert [hit.char_start for hit in index.search("d0c", ["river", "mill"], 5)] == [0, 10]
    assert [(hit.char_start, hit.char_end) for hit in index.search("d0c", ["Letter"], 5)] == [(20, 29)]
    assert [hit.char_start for hit in index.search("d0c", ["' | !frozen & (froze"], 5)] == []
    assert index.search("d0c", ["castle"], 5) == []
    assert index.spread("d0c", ["river", "castle"]) == (3, [2, 0])
    index.remove("d0c")
    assert not index.ready("d0c")
