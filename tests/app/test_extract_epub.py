"""EPUB 2 and 3, made by pandoc; damaged and protected ones."""

import io
import zipfile
from collections.abc import Callable

import pytest

from app.extract.epub import read_epub
from app.extract.parts import FileText, Unreadable
from tests import pandoc


def changed(data: bytes, change: Callable[[str, bytes], bytes | None], more: dict[str, bytes] | None = None) -> bytes:
    """A zip file with members changed, left out (None) or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if (kept := change(name, old.read(name))) is not None:
                new.writestr(name, kept)
        for name, added in (more or {}).items():
            new.writestr(name, added)
    return out.getvalue()


def outline(read: FileText) -> list[tuple[int, str]]:
    [text] = read.pages
    assert all(text[heading.char_start :].startswith(heading.title) for heading in read.outline)
    return [(heading.level, heading.title) for heading in read.outline]


@pytest.mark.parametrize("kind", ["epub2", "epub3"])
def test_a_book_made_by_pandoc(kind: str) -> None:
    read = read_epub(pandoc.make(kind), "a.epub")
    [text] = read.pages
    pandoc.assert_in_order([word for word in pandoc.WORDS if "footnote" not in word], text)
    assert "A footnote says so." in text
    assert (read.kind, read.title, read.paged) == ("epub", "The Mill", False)
    assert [heading for heading in outline(read) if heading[1] != "The Mill"] == pandoc.OUTLINE
    assert read.skipped == read.notes == ()


def test_without_a_table_of_contents_the_headings_serve() -> None:
    def change(name: str, data: bytes) -> bytes | None:
        return None if name.endswith(("nav.xhtml", "toc.ncx")) else data

    assert outline(read_epub(changed(pandoc.make("epub3"), change), ""))[-1:] == [(1, "Part two")]


def test_a_chapter_that_is_missing_or_a_bomb_is_a_skip() -> None:
    read = read_epub(changed(pandoc.make("epub3"), lambda name, data: None if "ch001" in name else data), "")
    assert read.skipped == ("chapter EPUB/text/ch001.xhtml: EPUB/text/ch001.xhtml is missing in it",)
    assert "Part two" in read.pages[0]
    bomb = b"<p>" + b"0" * 3_000_000
    read = read_epub(changed(pandoc.make("epub3"), lambda name, data: bomb if "ch002" in name else data), "")
    assert "a zip bomb?" in read.skipped[0]
    assert "Part one" in read.pages[0]


def test_protected_books_are_refused_but_not_for_their_fonts() -> None:
    listed = b"<encryption><EncryptedData><CipherReference URI='%s'/></EncryptedData></encryption>"
    book = pandoc.make("epub3")
    fonts = changed(book, lambda _, data: data, {"META-INF/encryption.xml": listed % b"EPUB/fonts/a.otf"})
    assert read_epub(fonts, "").title == "The Mill"
    locked = changed(book, lambda _, data: data, {"META-INF/encryption.xml": listed % b"EPUB/text/ch001.xhtml"})
    with pytest.raises(Unreadable, match=r"protected \(1 of \d chapters"):
        read_epub(locked, "")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.95])
def test_cut_short(keep: float) -> None:
    data = pandoc.make("epub3")
    with pytest.raises(Unreadable, match="broken or cut short"):
        read_epub(data[: int(len(data) * keep)], "")


def test_a_zip_that_is_no_book() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("x", "y")
    with pytest.raises(Unreadable, match=r"container\.xml is missing"):
        read_epub(out.getvalue(), "")
