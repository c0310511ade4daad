"""Folders: what is read, and every skip with its reason."""

import os
from pathlib import Path

import pytest

from app.extract import folder
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
