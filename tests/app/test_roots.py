"""What the page may read of this computer: below the roots, and nothing else."""

from pathlib import Path

import pytest

from app.errors import OncereadError
from app.roots import below_roots, roots


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One open folder with a file, and a file beside it that is not open."""
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "a.txt").write_text("a", "utf-8")
    (tmp_path / "secret.txt").write_text("s", "utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "loop").symlink_to(folder / "loop")
    monkeypatch.setenv("ONCEREAD_ROOTS", str(folder))
    return folder


def test_what_is_inside(root: Path) -> None:
    assert roots() == [root]
    for name in ("a.txt", " a.txt ", str(root / "a.txt"), "../open/a.txt"):
        assert below_roots(name) == root / "a.txt"
    assert below_roots(".") == root


@pytest.mark.parametrize(
    "name",
    ["../secret.txt", "link.txt", "/etc/passwd", "loop", "missing.txt", "\0", "~nobody9/x", "a.txt/../../secret.txt"],
)
def test_what_is_outside_is_not_told_from_what_is_missing(root: Path, name: str) -> None:
    with pytest.raises(OncereadError, match="there is no"):
        below_roots(name)


def test_nothing_is_open_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONCEREAD_ROOTS", raising=False)
    assert roots() == []
    with pytest.raises(OncereadError, match="ONCEREAD_ROOTS"):
        below_roots("/etc/passwd")
