"""Folders and archives: what is read, and every skip with its reason."""

import os
import struct
import zipfile
from pathlib import Path

import pytest

from app.errors import SourceError
from app.extract import archive, extract, folder
from app.extract.archive import open_archive
from app.extract.folder import walk_folder


def build(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def names(root: Path) -> tuple[list[str], dict[str, str]]:
    walk = walk_folder(root)
    return [file.path for file in walk.files], {skip.path: skip.reason for skip in walk.skipped}


def test_what_is_no_source_is_skipped_with_its_reason(tmp_path: Path) -> None:
    build(tmp_path, {"src/a.py": "a", ".github/ci.yml": "b", ".git/config": "c", "node_modules/m/x.js": "d"})
    build(tmp_path, {"src/__pycache__/a.pyc": "e", "sub/.git": "gitdir: x", "sub/s.py": "f", "more.tar.gz": "g"})
    (tmp_path / "link.py").symlink_to(tmp_path / "src" / "a.py")
    (tmp_path / "around").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    files, skipped = names(tmp_path)
    assert files == [".github/ci.yml", "src/a.py"]
    assert skipped == {
        ".git/": "version control's own files",
        "around": "a link (only what lies in the folder itself is read)",
        "link.py": "a link (only what lies in the folder itself is read)",
        "more.tar.gz": "an archive inside the folder (read it by itself)",
        "node_modules/": "installed packages",
        "pipe": "a device, pipe or socket",
        "src/__pycache__/": "a cache",
        "sub/": "another git repository (read it by itself)",
    }


def test_gitignore_is_honoured_as_git_does(tmp_path: Path) -> None:
    build(tmp_path, {".gitignore": "*.log\n/out/\n!keep.log\n", "a.log": "", "out/x": "", "d/out/y": ""})
    build(tmp_path, {"keep.log": ""})
    build(tmp_path, {"d/.gitignore": "!b.log\nsecret*\n", "d/b.log": "", "d/secret.txt": "", "secret.txt": ""})
    files, skipped = names(tmp_path)
    assert files == [".gitignore", "d/.gitignore", "d/b.log", "d/out/y", "keep.log", "secret.txt"]
    assert skipped == dict.fromkeys(["a.log", "out/", "d/secret.txt"], "named in .gitignore")


def test_depth_and_number_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, {"/".join("d" * 20) + "/deep.txt": "x", "/".join("d" * 21) + "/deeper.txt": "x"})
    files, skipped = names(tmp_path)
    assert files == ["/".join("d" * 20) + "/deep.txt"]
    assert skipped == {"/".join("d" * 21) + "/": "more than 20 folders deep"}
    monkeypatch.setattr(folder, "FILE_LIMIT", 2)
    build(tmp_path, {f"f{n}.txt": "x" for n in range(5)})
    files, skipped = names(tmp_path)
    assert len(files) == 2
    assert skipped["f1.txt"] == "the 2 files before it are all that is read: this one and the rest are not"


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def test_a_zip_archive_is_a_collection(tmp_path: Path) -> None:
    files = {"b/x.py": b"x = 1\n", "a.md": b"# A\n", "__MACOSX/a.md": b"x", "in.zip": b"PK", "p.bin": b"\0"}
    read = extract([make_zip(tmp_path / "my.zip", files)])
    assert (read.title, read.kind) == ("my", "collection")
    assert read.text == "# File: a.md\n# A\n\n\n# File: b/x.py\nx = 1\n"
    assert {skip.path: skip.reason for skip in read.skipped} == {
        "__MACOSX/a.md": "another program's own files",
        "in.zip": "an archive inside the archive (read it by itself)",
        "p.bin": "it is no text (a binary file)",
    }


def test_names_that_lead_out_are_not_read(tmp_path: Path) -> None:
    files = {"../evil.txt": b"x", "/etc/evil": b"x", "a\x1bb.txt": b"fine"}
    found, skipped = open_archive(make_zip(tmp_path / "a.zip", files))
    assert [file.path for file in found] == ["a\ufffdb.txt"]
    assert {skip.reason for skip in skipped} == {"a name that leads out of the archive"}
    assert len(skipped) == 2


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = make_zip(tmp_path / "bomb.zip", {"zeros.txt": b"0" * 9_000_000, "ok.txt": b"fine"})
    read = extract([bomb])
    assert read.text == "# File: ok.txt\nfine"
    assert [skip.reason for skip in read.skipped] == ["unpacks to over 200 times its size (a zip bomb?)"]
    monkeypatch.setattr(archive, "TOTAL_LIMIT", 5_000_000)
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
