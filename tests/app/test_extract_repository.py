"""A git repository, made by git: its tracked files, in the order of their last change."""

import os
import subprocess
from pathlib import Path

import pytest

from app.extract import extract
from app.extract.repository import tracked_files


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits a day apart: a.py and z.py, b.py, then a.py again; secret.txt is not tracked."""
    root = tmp_path / "project"
    root.mkdir()

    def git(*words: str, day: int = 1) -> None:
        stamp = f"2024-01-0{day}T12:00:00+00:00"
        who = {f"GIT_{role}_{what}": "x@y" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        dates = {"GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
        subprocess.run(["git", "-C", root, *words], check=True, capture_output=True, env=os.environ | who | dates)

    git("init", "-q")
    (root / ".gitignore").write_text("ignored*\n")
    for name in ("a.py", "z.py", "ignored but added.py"):
        (root / name).write_text(f"# {name}\n")
    git("add", "-f", "a.py", "z.py", "ignored but added.py", ".gitignore")
    git("commit", "-qm", "one")
    (root / "ünder").mkdir()
    (root / "ünder" / "b.html").write_text("<b>source</b>\n")
    git("add", ".")
    git("commit", "-qm", "two", day=2)
    (root / "a.py").write_text("# a.py changed\n")
    git("commit", "-qam", "three", day=3)
    (root / "secret.txt").write_text("not tracked")
    (root / "ignored.txt").write_text("ignored")
    return root


def test_tracked_files_and_their_last_change(repository: Path) -> None:
    tracked = tracked_files(repository)
    assert tracked is not None
    first = tracked["z.py"]
    assert {name: (when - first) / 86_400 for name, when in tracked.items()} == {
        ".gitignore": 0, "a.py": 2, "ignored but added.py": 0, "z.py": 0, "ünder/b.html": 1,
    }


def test_a_codebase_has_an_index_and_what_changed_last_comes_last(repository: Path) -> None:
    read = extract([repository])
    assert read.text == (
        "# Files\n.gitignore\na.py\nignored but added.py\nz.py\nünder/b.html\n\n"
        "# File: .gitignore\nignored*\n\n\n# File: ignored but added.py\n# ignored but added.py\n\n\n"
        "# File: z.py\n# z.py\n\n\n# File: ünder/b.html\n<b>source</b>\n\n\n# File: a.py\n# a.py changed\n"
    )
    assert {skip.path: skip.reason for skip in read.skipped} == {
        ".git/": "version control's own files",
        "secret.txt": "not tracked by git",
        "ignored.txt": "named in .gitignore",
    }
    assert [heading.title for heading in read.outline][:2] == [".gitignore", "ignored but added.py"]


def test_a_changed_file_moves_to_the_end_and_leaves_the_rest_as_it_was(repository: Path) -> None:
    before = extract([repository]).text
    tracked = repository / "ünder" / "b.html"
    tracked.write_text("<b>new</b>\n")
    who = ["-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run(["git", "-C", repository, *who, "commit", "-qam", "four"], check=True, capture_output=True)
    after = extract([repository]).text
    stable, _ = before.split("# File: ünder/b.html\n")
    assert after.startswith(stable)


def test_no_setting_of_the_repository_runs_a_program(repository: Path) -> None:
    trap = repository.parent / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {repository.parent}/sprung\n")
    trap.chmod(0o755)
    for name in ("core.fsmonitor", "gpg.program", "diff.external", "core.pager", "core.sshCommand"):
        subprocess.run(["git", "-C", repository, "config", name, str(trap)], check=True)
    subprocess.run(["git", "-C", repository, "config", "log.showSignature", "true"], check=True)
    assert tracked_files(repository)
    assert not (repository.parent / "sprung").exists()


def test_no_repository(tmp_path: Path) -> None:
    assert tracked_files(tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert tracked_files(tmp_path) is None
