"""The one door: single files, collections, their places, and one clear line for all that cannot be read."""

import os
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import SourceError
from app.extract import Skip, document, extract
from app.extract import text as text_reader
from app.passages import Places
from tests.app.test_extract_pdf import PAGES, pdf


def test_a_text_file_is_its_own_text(tmp_path: Path) -> None:
    (tmp_path / "My Book.txt").write_bytes(b"One.\r\nTwo.\n")
    read = extract([tmp_path / "My Book.txt"])
    assert (read.title, read.kind, read.text, read.pages) == ("My Book", "text", "One.\nTwo.\n", None)
    [part] = read.parts
    assert (part.path, part.page, part.line_start, part.char_start, part.char_end) == ("My Book.txt", None, 1, 0, 10)
    assert read.skipped == read.notes == ()


def test_markdown_is_called_by_its_heading(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# The Title\n\ntext")
    assert (extract([tmp_path / "a.md"]).title, extract([tmp_path / "a.md"]).kind) == ("The Title", "markdown")


def test_a_pdf_is_its_pages_with_a_blank_line_between(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf([*PAGES, None], "The Whole Book"))
    seen: list[tuple[int, int, str]] = []
    read = extract([tmp_path / "a.pdf"], lambda *progress: seen.append(progress))
    assert (read.title, read.kind, read.pages) == ("The Whole Book", "pdf", 4)
    assert read.text == "\n\n".join([*PAGES, ""])
    assert read.skipped == (Skip("a.pdf", "page 4: no text (an image?)"),)
    at = read.text.index("two lines")
    place = Places(read.text, read.parts).locate(at, at + 9)
    assert (place.path, place.page, place.line_start) == ("a.pdf", 1, 2)
    at = read.text.index("third")
    assert Places(read.text, read.parts).locate(at, at + 5).page == 3
    assert [each for each in seen if each[0]] == [(n, 4, "a.pdf") for n in range(1, 5)]


def test_progress_may_stop_the_reading(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf([*PAGES]))

    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract([tmp_path / "a.pdf"], stop)


def test_a_folder_is_a_collection_sorted_by_path(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "a").mkdir(parents=True)
    (root / "b.py").write_text("x = 1\ny = 2")
    (root / "a" / "z.md").write_text("# Zed\n")
    (root / "a.pdf").write_bytes(pdf([*PAGES]))
    (root / "broken.pdf").write_bytes(b"%PDF-1.4 no more")
    (root / "picture.png").write_bytes(b"\x89PNG\0\0")
    (root / "latin.txt").write_bytes("Über".encode("cp1252"))
    read = extract([root])
    assert (read.title, read.kind, read.pages) == ("project", "collection", 3)
    assert [line for line in read.text.split("\n") if line.startswith("# File: ")] == [
        "# File: a/z.md",
        "# File: a.pdf",
        "# File: b.py",
        "# File: latin.txt",
    ]
    assert {skip.path for skip in read.skipped} == {"broken.pdf", "picture.png"}
    assert read.notes == (("latin.txt", "read as windows-1252 (guessed)"),)
    at = read.text.index("y = 2")
    place = Places(read.text, read.parts).locate(at, at + 5)
    assert (place.path, place.page, place.line_start, place.line_end) == ("b.py", None, 2, 2)
    place = Places(read.text, read.parts).locate(read.text.index("second page"), read.text.index("second page") + 6)
    assert (place.path, place.page, place.line_start) == ("a.pdf", 2, 1)


def test_several_paths_are_named_from_what_they_share(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text(folder)
    read = extract([tmp_path / "two" / "x.txt", tmp_path / "one", tmp_path / "one" / "x.txt"])
    assert [part.path for part in read.parts] == ["one/x.txt", "two/x.txt"]
    assert read.title == "x and 2 more"
    assert read.text == "# File: one/x.txt\none\n\n# File: two/x.txt\ntwo"


@given(contents=st.lists(st.text("ab\n", min_size=1).filter(str.strip), min_size=2, max_size=5))
def test_parts_cover_the_text_and_lead_back_to_the_line(
    contents: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("folder")
    for number, content in enumerate(contents):
        (root / f"{number}.txt").write_text(content)
    read = extract([root])
    assert [part.char_start for part in read.parts] == [0, *(part.char_end for part in read.parts)][:-1]
    assert read.parts[-1].char_end == len(read.text)
    places = Places(read.text, read.parts)
    for content, part in zip(contents, read.parts, strict=True):
        start = read.text.index("\n", part.char_start) + 1
        assert read.text[start : start + len(content)] == content
        for at, character in enumerate(content):
            if character != "\n":
                place = places.locate(start + at, start + at + 1)
                assert (place.path, place.line_start) == (part.path, content[:at].count("\n") + 1)


def failing(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        extract([path])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_errors_are_one_clear_line(tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    assert failing(tmp_path / "gone.txt").endswith("gone.txt: no such file or folder")
    assert failing(Path("a\0b")).endswith("no such file or folder")
    assert failing(file("empty.txt", b"")).endswith("empty.txt: the file is empty")
    assert failing(file("b.bin", b"\0\1")).endswith("b.bin: it is no text (a binary file)")
    assert "broken or cut short" in failing(file("cut.pdf", pdf([*PAGES])[:400]))
    assert failing(file("scan.pdf", pdf([None, None]))).endswith("looks scanned; OCR can read it")
    (tmp_path / "void").mkdir()
    assert failing(tmp_path / "void") == "void: nothing readable in it"
    (tmp_path / "void" / "x.bin").write_bytes(b"\0")
    assert failing(tmp_path / "void").startswith("void: nothing readable in it: 1 skipped, such as x.bin (it is no")
    os.mkfifo(tmp_path / "pipe")
    assert "a device, pipe or socket" in failing(tmp_path / "pipe")
    with pytest.raises(SourceError, match="nothing to read"):
        extract([])


def test_a_file_over_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_reader, "READER", replace(text_reader.READER, limit=1_000_000))
    (tmp_path / "big.txt").write_bytes(b"x" * 1_000_001)
    assert failing(tmp_path / "big.txt").endswith("1.0 MB, more than the 1 MB allowed for a text file: split it")
    (tmp_path / "big.txt").write_bytes(b"\0" * 1_000_001)
    assert failing(tmp_path / "big.txt").endswith("it is no text (a binary file)")


def test_a_collection_over_the_limit_is_read_as_far_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "COLLECTION_LIMIT", 100)
    for name, length in (("a.txt", 60), ("b.txt", 60), ("c.txt", 30)):
        (tmp_path / name).write_text("x" * length)
    read = extract([tmp_path])
    assert [part.path for part in read.parts] == ["a.txt", "c.txt"]
    assert read.skipped == (Skip("b.txt", "with it the text would be over 0 MB"),)


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("secret")
    (tmp_path / "b.txt").write_text("open")
    opened = Path.open

    def refuse(self: Path, mode: str) -> IO[Any]:  # tests may run as root, whom the system refuses nothing
        if self.name == "a.txt":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode)

    monkeypatch.setattr(Path, "open", refuse)
    assert failing(tmp_path / "a.txt").endswith("a.txt: permission denied")
    read = extract([tmp_path])
    assert read.text == "# File: b.txt\nopen"
    assert read.skipped == (Skip("a.txt", "permission denied"),)
