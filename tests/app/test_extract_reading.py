"""Hostile and damaged files: refused or read in part with one line of reason; and places lead back, in every kind."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter
from pypdf.generic import NameObject, StreamObject

from app.extract import Extracted, extract
from app.extract.parts import SourceFile, Unreadable
from app.extract.reading import read_file
from app.extract.sandbox import Sandbox
from app.passages import Places
from tests import mutants, pandoc
from tests.app.test_extract_pdf import PAGES, SAMPLE
from tests.bench.fuzz import outcome

KINDS = ("epub2", "epub3", "docx", "html", "ipynb", "md", "pdf", "zip")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(seconds=10) as made:
        yield made


def source(name: str, data: bytes) -> SourceFile:
    return SourceFile(name, len(data), lambda n: data[:n])


@pytest.mark.parametrize("kind", sorted(mutants.seeds()))
def test_damaged_files_are_read_or_refused(kind: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """The beginning of what `python -m tests.bench fuzz` runs by the hundred thousand."""
    found = {outcome(kind, mutants.mutant(kind, number), sandbox, tmp_path) for number in range(40)}
    assert {"read", "refused"} <= found or "in part" in found


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Extracted]]:
    """Every kind's sample, taken in."""
    folder = tmp_path_factory.mktemp("kinds")
    found = {}
    for kind in KINDS:
        path = folder / f"{kind}.{kind.rstrip('23')}"
        path.write_bytes(mutants.seeds()[kind])
        found[kind] = (path, extract([path]))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_span_is_found_again(kind: str, extracted: dict[str, tuple[Path, Extracted]]) -> None:
    path, read = extracted[kind]
    again = extract([path])
    places = Places(again.text, again.parts, again.outline)

    @given(st.data())
    @settings(max_examples=60)
    def check(data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(read.text) - 1))
        end = data.draw(st.integers(start + 1, min(len(read.text), start + 200)))
        place = places.locate(start, end)
        assert again.text[place.char_start : place.char_end] == read.text[start:end]
        [part] = [each for each in again.parts if each.char_start <= start < each.char_end]
        assert (part.path, part.page) == (place.path, place.page)
        lines = again.text[part.char_start : part.char_end].split("\n")
        if read.text[start:end].strip() and place.line_start >= part.line_start > 0:
            assert read.text[start:end].split("\n")[0] in lines[place.line_start - part.line_start]

    check()
    assert [part.char_start for part in read.parts] == [0, *(part.char_end for part in read.parts)][:-1]
    assert read.parts[-1].char_end == len(read.text)
    for heading in read.outline:
        if kind not in ("zip", "tar"):
            assert read.text[heading.char_start :].lstrip("# ").startswith(heading.title)


@pytest.mark.parametrize("kind", ["epub2", "epub3", "docx", "html", "ipynb", "md"])
def test_no_word_is_lost(kind: str, extracted: dict[str, tuple[Path, Extracted]]) -> None:
    text = extracted[kind][1].text
    for word in ("river", "quick", "brown", "fox", "dashes", "straße", "猫", "link", "footnote", "nested", "Köln"):
        assert word in text


def bomb_in_page(megabytes: int) -> bytes:
    """A PDF whose second page draws text without end."""
    writer = PdfWriter(PdfReader(io.BytesIO(SAMPLE)))
    stream = StreamObject()
    stream._data = zlib.compress(b"BT /F1 12 Tf (words again) Tj ET " * (megabytes * 1_000_000 // 33), 9)
    stream[NameObject("/Filter")] = NameObject("/FlateDecode")
    writer.pages[1][NameObject("/Contents")] = writer._add_object(stream)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_a_page_that_blows_up_does_not_lose_the_others() -> None:
    data = bomb_in_page(150)
    assert len(data) < 1_000_000
    with Sandbox(memory=1_000_000_000, seconds=5) as small:
        read, _ = read_file(source("a.pdf", data), [small])
    assert (read.pages[0], read.pages[2]) == (PAGES[0], PAGES[2])
    assert [skip.split(":")[0] for skip in read.skipped] == ["page 2"]


def test_a_page_tree_that_loops(sandbox: Sandbox) -> None:
    looped = SAMPLE.replace(b"/Kids [3 0 R", b"/Kids [1 0 R")
    assert looped != SAMPLE
    assert outcome("pdf", looped, sandbox, Path()) in ("read", "refused")


def test_members_that_lead_out_of_an_epub_are_missing(sandbox: Sandbox) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(pandoc.make("epub3"))) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b'href="text/ch001.xhtml"', b'href="../../../../etc/passwd"'))
    read, _ = read_file(source("a.epub", out.getvalue()), [sandbox])
    assert any("etc/passwd is missing in it" in reason for reason in read.skipped)


def test_a_gigabyte_on_one_line_is_refused_at_once(tmp_path: Path, sandbox: Sandbox) -> None:
    asked = []

    def read(limit: int) -> bytes:
        asked.append(limit)
        return b"a" * limit

    with pytest.raises(Unreadable, match=r"1,000.0 MB, more than the 10 MB allowed for a text file"):
        read_file(SourceFile("a.txt", 1_000_000_000, read), [sandbox])
    assert max(asked) < 100_000


def test_names_tell_less_than_contents(sandbox: Sandbox) -> None:
    read, _ = read_file(source("no ending", SAMPLE), [sandbox])
    assert read.kind == "pdf"
    read, _ = read_file(source("page", b"<!DOCTYPE html><p>words"), [sandbox])
    assert (read.kind, read.pages) == ("html", ("words\n",))
    read, _ = read_file(source("a.html", b"<b>source</b>"), [sandbox], as_source=True)
    assert read.pages == ("<b>source</b>",)
