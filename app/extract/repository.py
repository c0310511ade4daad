"""A local git repository: the files it tracks, and when each last changed. Asks the `git` program, if there is one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_SAFE = (
    "core.fsmonitor=false", "core.hooksPath=/dev/null", "core.quotePath=false", "log.showSignature=false",
    "diff.external=", "protocol.allow=never",
)
"""A repository may come from anyone, and its own settings may name programs to run: none is."""
_COMMITS = 5_000
"""How far back changes are looked for; a file that did not change since then is as stable as any."""
_SECONDS = 20.0


def tracked_files(root: Path) -> dict[str, float] | None:
    """The tracked files of the repository at `root` and the second since 1970 when each last changed (0: long ago).

    None if there is no repository, no `git`, or it cannot say.
    """
    if not (root / ".git").exists():
        return None
    listed = _git(root, "ls-files", "-z")
    if listed is None:
        return None
    changed = dict.fromkeys((os.fsdecode(name) for name in listed.split(b"\0") if name), 0.0)
    history = _git(root, "log", "-z", f"-{_COMMITS}", "--no-renames", "--format=%x01%ct", "--name-only")
    second = 0.0
    for field in (history or b"").split(b"\0"):
        name = field.lstrip(b"\n")
        if name.startswith(b"\1"):
            stamp, _, name = name[1:].partition(b"\n")
            second = float(stamp) if stamp.isdigit() else second
            name = name.lstrip(b"\n")
        path = os.fsdecode(name)
        if path in changed and not changed[path]:  # the newest commit comes first
            changed[path] = second
    return changed


def _git(root: Path, *words: str) -> bytes | None:
    """What git prints, or None if it fails."""
    settings = [word for setting in _SAFE for word in ("-c", setting)]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_PAGER": "cat"}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *settings, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_SECONDS, check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
