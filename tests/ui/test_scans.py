"""Uploads kept for OCR: each person's own, and not for ever."""

from pathlib import Path

from ui import scans
from ui.scans import Scans, hold


def test_they_are_whose_they_are_and_asked_for_once(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    kept = Scans()
    token = kept.keep("ann", hold(tmp_path, [tmp_path / "a.pdf"]))
    assert not (tmp_path / "a.pdf").exists()
    assert kept.take("bob", token) is None
    held = kept.take("ann", token)
    assert held is not None
    assert [path.name for path in held.paths] == ["a.pdf"]
    assert kept.take("ann", token) is None
    held.folder.cleanup()


def test_the_oldest_go_and_all_at_the_end(tmp_path: Path) -> None:
    kept = Scans()
    for n in range(scans.MOST + 2):
        (tmp_path / f"{n}.pdf").write_bytes(b"%PDF")
        kept.keep("", hold(tmp_path, [tmp_path / f"{n}.pdf"]))
    assert len(list(tmp_path.glob("scan-*"))) == scans.MOST
    kept.end()
    assert list(tmp_path.iterdir()) == []
