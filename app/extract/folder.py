"""Which files of a folder are read, and why the others are not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISLNK, S_ISREG

from pathspec import GitIgnoreSpec

from app.extract.clean import label
from app.extract.parts import DEPTH_LIMIT, FILE_LIMIT, Skip, SourceFile
from app.extract.repository import tracked_files

NOT_SOURCES = {
    **dict.fromkeys((".git", ".hg", ".svn", ".bzr"), "version control's own files"),
    **dict.fromkeys((".venv", "node_modules", "site-packages", "bower_components"), "installed packages"),
    **dict.fromkeys((".tox", ".nox", ".eggs", ".next", ".nuxt", ".gradle", ".terraform"), "build output"),
    **dict.fromkeys(("__pycache__", ".cache", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"), "a cache"),
    **dict.fromkeys((".ipynb_checkpoints", ".idea", "__MACOSX", ".DS_Store"), "another program's own files"),
}
"""Folders and files that no reader means when naming the folder around them, and what they are."""

ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"}


def source_file(file: Path, path: str, changed: float | None = None) -> SourceFile:
    """A file on disk, named `path` in the document. Raises OSError if it cannot be looked at."""

    def read(limit: int) -> bytes:
        with file.open("rb") as opened:
            return opened.read(limit)

    facts = file.stat()
    return SourceFile(label(path), facts.st_size, read, facts.st_mtime if changed is None else changed)


@dataclass
class Walk:
    """What a folder holds: `files` to read and `skipped` parts, filled by `walk_folder`."""

    root: Path
    prefix: str
    tracked: dict[str, float] | None = None
    files: list[SourceFile] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)

    def skip(self, path: str, reason: str) -> None:
        """Note that something below the prefix is left out, and why."""
        self.skipped.append(Skip(label(self.prefix + path), reason))


def walk_folder(root: Path, prefix: str = "") -> Walk:
    """Every file below `root` that is to be read, and each skip with its reason; names start with `prefix`.

    Links, version control, caches, installed packages, archives, nested repositories and whatever a `.gitignore`
    below `root` names are left out, in a git repository whatever it does not track, and all beyond `DEPTH_LIMIT`
    folders or `FILE_LIMIT` files.
    """
    walk = Walk(root, prefix, tracked_files(root))
    for path in _walk(walk, "", []):
        if len(walk.files) == FILE_LIMIT:
            walk.skip(path, f"the {FILE_LIMIT:,} files before it are all that is read: this one and the rest are not")
            break
        try:
            changed = walk.tracked.get(path) if walk.tracked else None
            walk.files.append(source_file(root / path, prefix + path, changed))
        except OSError as error:
            walk.skip(path, error.strerror or str(error))
    return walk


def _walk(walk: Walk, folder: str, ignores: list[tuple[str, GitIgnoreSpec]]) -> Iterator[str]:
    """The paths of the files to read below `folder` ("" or "a/b/"), in order; `ignores` of the folders above it."""
    try:
        names = sorted(os.listdir(walk.root / folder))
        here = _gitignore(walk.root / folder) if ".gitignore" in names else None
    except OSError as error:
        walk.skip(folder or ".", error.strerror or str(error))
        return
    ignores = [*ignores, (folder, here)] if here else ignores
    for name in names:
        path = folder + name
        try:
            mode = (walk.root / path).lstat().st_mode
        except OSError as error:
            walk.skip(path, error.strerror or str(error))
            continue
        is_folder = S_ISDIR(mode)
        shown = path + "/" * is_folder
        if name in NOT_SOURCES:
            walk.skip(shown, NOT_SOURCES[name])
        elif S_ISLNK(mode):
            walk.skip(path, "a link (only what lies in the folder itself is read)")
        elif not is_folder and not S_ISREG(mode):
            walk.skip(path, "a device, pipe or socket")
        elif _ignored(shown, ignores) and not (walk.tracked and path in walk.tracked):
            walk.skip(shown, "named in .gitignore")
        elif not is_folder and PurePosixPath(name).suffix.lower() in ARCHIVES:
            walk.skip(path, "an archive inside the folder (read it by itself)")
        elif not is_folder and walk.tracked is not None and path not in walk.tracked:
            walk.skip(path, "not tracked by git")
        elif not is_folder:
            yield path
        elif (walk.root / path / ".git").exists():
            walk.skip(shown, "another git repository (read it by itself)")
        elif shown.count("/") > DEPTH_LIMIT:
            walk.skip(shown, f"more than {DEPTH_LIMIT} folders deep")
        else:
            yield from _walk(walk, shown, ignores)


def _gitignore(folder: Path) -> GitIgnoreSpec | None:
    """The rules of a folder's `.gitignore`, unless it is a link or no file."""
    file = folder / ".gitignore"
    if file.is_symlink() or not file.is_file():
        return None
    return GitIgnoreSpec.from_lines(file.read_text("utf-8", "replace").splitlines())


def _ignored(path: str, ignores: list[tuple[str, GitIgnoreSpec]]) -> bool:
    """Whether the rules leave out `path` (ending in "/" for a folder); those nearest to it decide first, as in git."""
    for folder, rules in reversed(ignores):
        verdict = rules.check_file(path[len(folder) :]).include
        if verdict is not None:
            return verdict
    return False
