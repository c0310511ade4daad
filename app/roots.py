"""Folders of this computer that the page may read from: `$ONCEREAD_ROOTS`, and nothing outside them."""

import os
from pathlib import Path

from app.errors import OncereadError


def roots() -> list[Path]:
    """The folders of `$ONCEREAD_ROOTS` (separated as in `$PATH`); none by default."""
    named = os.environ.get("ONCEREAD_ROOTS", "").split(os.pathsep)
    return [Path(name).expanduser().resolve() for name in named if name.strip()]


def below_roots(name: str) -> Path:
    """The path a person gave, wherever its links lead. Raises OncereadError outside the roots.

    Relative paths count from the first root. Whether anything is outside is not told.
    """
    allowed = roots()
    if not allowed:
        raise OncereadError("no folder of this computer is open to the page: set ONCEREAD_ROOTS and start it again")
    try:
        path = (allowed[0] / Path(name.strip()).expanduser()).resolve()
        inside = any(path.is_relative_to(root) for root in allowed) and path.exists()
    except (OSError, ValueError, RuntimeError):  # a NUL, a loop of links, an unknown ~user
        inside = False
    if not inside:
        listed = ", ".join(str(root) for root in allowed)
        raise OncereadError(f"there is no {name.strip()[:200]!r} in the folders open to the page ({listed})")
    return path
