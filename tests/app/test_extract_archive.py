"""Archives: what is read, and every skip with its reason."""

import io
import os
import struct
import tarfile
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.errors import SourceError
from app.extract import archive, extract
from app.extract.archive import open_archive
from app.extract.parts import Unreadable
from app.extract.sandbox import Sandbox


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def test_a_zip_archive_is_a_collection(tmp_path: Path) -> None:
    files = {"b/x.py": b"x = 1\n", "a.md": b"# A\n", "__MACOSX/a.md": b"x", "in.zip": b"PK", "p.bin": b"\0"}
    read = extract([make_zip(tmp_path / "my.zip", files)])
    assert (read.title, read.kind) == ("my", "collection")
    assert read.text == "# Files\na.md\nb/x.py\n\n# File: a.md\n# A\n\n\n# File: b/x.py\nx = 1\n"
    assert {skip.path: skip.reason for skip in read.skipped} == {
        "__MACOSX/a.md": "another program's own files",
        "in.zip": "an archive inside the archive (read it by itself)",
        "p.bin": "it is no text (a binary file)",
    }


def test_names_that_lead_out_are_not_read(tmp_path: Path) -> None:
    files = {"../evil.txt": b"x", "/etc/evil": b"x", "a\x1bb.txt": b"fine"}
    with ExitStack() as opened, Sandbox() as sandbox:
        found, skipped = open_archive(make_zip(tmp_path / "a.zip", files), opened, sandbox)
    assert [file.path for file in found] == ["a\ufffdb.txt"]
    assert {skip.reason for skip in skipped} == {"a name that leads out of the archive"}
    assert len(skipped) == 2


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = make_zip(tmp_path / "bomb.zip", {"zeros.txt": b"0" * 9_000_000, "ok.txt": b"fine"})
    read = extract([bomb])
    assert read.text == "# File: ok.txt\nfine"
    assert [skip.reason for skip in read.skipped] == ["unpacks to over 200 times its size (a zip bomb?)"]
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 5_000_000)
    with pytest.raises(SourceError, match=r"^bomb.zip: unpacks to 9 MB, more than the 5 MB allowed$"):
        extract([bomb])
    monkeypatch.setattr(archive, "FILE_LIMIT", 1)
    with pytest.raises(SourceError, match="2 files in the archive, more than the 1 allowed"):
        extract([bomb])


def test_a_member_that_lies_about_its_size_is_never_unpacked_whole(tmp_path: Path) -> None:
    liar = make_zip(tmp_path / "liar.zip", {"a.txt": b"0" * 900_000})
    liar.write_bytes(liar.read_bytes().replace(struct.pack("<I", 900_000), struct.pack("<I", 10)))
    with pytest.raises(SourceError, match="damaged in the archive"):
        extract([liar])


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_a_broken_archive(tmp_path: Path, keep: float) -> None:
    whole = make_zip(tmp_path / "a.zip", {"a.txt": b"some text", "b.txt": b"more text"}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(SourceError, match=r"cut\.zip: the zip archive is broken or cut short"):
        extract([tmp_path / "cut.zip"])


def test_a_damaged_or_encrypted_member_does_not_lose_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a.txt", "first words")
        made.writestr("b.txt", "second words")
    path.write_bytes(path.read_bytes().replace(b"first words", b"worst words", 1))
    read = extract([path])
    assert read.text == "# File: b.txt\nsecond words"
    assert read.skipped[0].reason.startswith("damaged in the archive (Bad CRC-32")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert extract([path]).skipped[0].reason == "it is encrypted"


def make_tar(path: Path, mode: str, files: dict[str, bytes], *others: tarfile.TarInfo) -> Path:
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
        for other in others:
            made.addfile(other)
    return path


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz", "tar.xz", "tar.bz2"])
def test_a_tar_archive_is_a_collection(tmp_path: Path, ending: str) -> None:
    mode = "w:gz" if ending == "tgz" else "w:" + ending.partition(".")[2]
    link, device, out = tarfile.TarInfo("link.txt"), tarfile.TarInfo("device"), tarfile.TarInfo("hard.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    out.type, out.linkname = tarfile.LNKTYPE, "../../etc/passwd"
    device.type = tarfile.CHRTYPE
    files = {"b/x.txt": b"x = 1\n", "a.md": b"# A\n", "../evil.txt": b"x", "/etc/evil": b"x", "in.zip": b"PK"}
    read = extract([make_tar(tmp_path / f"my.{ending}", mode, files, link, device, out)])
    assert read.text == "# File: a.md\n# A\n\n\n# File: b/x.txt\nx = 1\n"
    assert {skip.path: skip.reason for skip in read.skipped} == {
        "../evil.txt": "a name that leads out of the archive",
        "/etc/evil": "a name that leads out of the archive",
        "device": "a device or pipe",
        "hard.txt": "a link",
        "in.zip": "an archive inside the archive (read it by itself)",
        "link.txt": "a link",
    }


def test_a_packed_bomb_is_never_unpacked_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = make_tar(tmp_path / "bomb.tgz", "w:gz", {"zeros.txt": b"0" * 20_000_000})
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 5_000_000)
    with pytest.raises(SourceError, match=r"^bomb.tgz: unpacks to much, more than the 5 MB allowed$"):
        extract([bomb])


@pytest.mark.parametrize("keep", [0.0, 0.4, 0.9])
def test_a_broken_tar_archive(tmp_path: Path, keep: float) -> None:
    whole = make_tar(tmp_path / "a.tar.gz", "w:gz", {"a.txt": os.urandom(2_000)}).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(SourceError, match=r"cut\.tar\.gz: the tar archive is broken or cut short|nothing readable"):
        extract([tmp_path / "cut.tar.gz"])


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {f"{n:04}.txt": b"words " * 4_000 for n in range(8)})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    for _ in range(7):  # every entry of the directory leads to the first member, whose kernel is as long as the file
        at = data.index(b"PK\x01\x02", at + 4)
        data[at + 20 : at + 24] = struct.pack("<I", len(data))
    path.write_bytes(data)
    with pytest.raises(SourceError, match="the members of the archive overlap"):
        extract([path])


def test_archives_are_parsed_in_a_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the directory nor a member is looked at in this process, and what they cost is not its loss."""
    zipped = make_zip(tmp_path / "a.zip", {"a.txt": b"words"})
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 7_000_000_000  # tarfile would hold all of it in memory
    with open(tmp_path / "bomb.tar", "wb") as bomb:
        bomb.write(long_name.tobuf(tarfile.GNU_FORMAT))
        bomb.truncate(long_name.size)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("parsed here")

    monkeypatch.setattr(zipfile, "ZipFile", never)
    monkeypatch.setattr(tarfile, "open", never)
    assert extract([zipped]).text == "# File: a.txt\nwords"
    with (
        ExitStack() as opened, Sandbox(memory=800_000_000) as small,
        pytest.raises(SourceError, match=r"^bomb\.tar: reading it takes more than 800 MB of memory"),
    ):
        open_archive(tmp_path / "bomb.tar", opened, small)


def test_a_full_disk_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(Unreadable, match=r"^there is no room to unpack it \(No space left on device\)$"):
        list(archive._unzipped(make_zip(tmp_path / "a.zip", {"a.txt": b"words"}), Full(), 1_000, 10))
