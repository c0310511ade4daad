"""Bytes become characters by their mark, by UTF-8, or by a guess that is reported."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.extract.clean import clean, label
from app.extract.parts import Unreadable
from app.extract.text import decode, read_text, text_kind

FRENCH = "Le café était fermé, à bientôt, où êtes-vous ? Ça va très bien, merci."
RUSSIAN = "Привет, как дела? Сегодня хорошая погода в нашем городе, и мы идём гулять."
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_the_bytes_prove_is_no_guess(encoding: str) -> None:
    assert decode((JAPANESE + FRENCH).encode(encoding)) == (JAPANESE + FRENCH, None)


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        (FRENCH, "cp1252", "windows-1252"),
        ("Grüße aus München und Köln.", "latin-1", "windows-1252"),
        ("café", "cp1252", "windows-1252"),
        ("“Naïve” – it’s fine…", "cp1252", "windows-1252"),
        (RUSSIAN, "cp1251", "windows-1251"),
        (JAPANESE, "shift_jis", "cp932"),
    ],
)
def test_a_guess_is_reported(text: str, encoding: str, name: str) -> None:
    read = read_text(text.encode(encoding), "a.txt")
    assert read.pages == (text,)
    assert read.notes == (f"read as {name} (guessed)",)


def test_damage_behind_a_mark_is_reported() -> None:
    text, note = decode(b"\xff\xfea\x00b")
    assert text == "a\ufffd"
    assert note is not None
    assert note.startswith("damaged utf-16")


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0", bytes(range(1, 256)) * 4, b"\x1f\x8b\x08\x01\x02\x03\xff"])
def test_binary_data_is_no_text(data: bytes) -> None:
    with pytest.raises(Unreadable, match="no text"):
        read_text(data, "a.txt")


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b" \r\n\t\n", "only blanks")])
def test_nothing_to_read(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_text(data, "a.txt")


def test_breaking_characters_are_replaced_and_noted() -> None:
    read = read_text(b"a" * 9_000 + b"\0b\x07\r\nc\rd\x0ce", "a.txt")
    assert read.pages == ("a" * 9_000 + "\ufffdb\ufffd\nc\nd\x0ce",)
    assert read.notes == ("2 control characters replaced by U+FFFD",)
    assert clean("a\ud800b") == ("a\ufffdb", 1)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t\f"), min_size=1))
def test_utf8_text_comes_through_unchanged(text: str) -> None:
    if text.strip() and not text.startswith("\ufeff"):
        assert read_text(text.encode(), "a.txt").pages == (text,)


@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    try:
        [text] = read_text(data, "a").pages
    except Unreadable as error:
        text = str(error)
    assert "\0" not in text
    assert "\r" not in text
    text.encode()  # no lone surrogates


def test_kinds() -> None:
    paths = ("a.MD", "b/c.py", "d.txt", "README", "e.rst", "f.tsv")
    assert [text_kind(path) for path in paths] == ["markdown", "code", "text", "text", "rst", "table"]


def test_markdown_is_called_by_its_first_heading() -> None:
    assert read_text(b"intro\n\n## The *Title* ##\n# Other", "a.md").title == "The *Title*"
    assert read_text(b"#hashtag\nno heading", "a.md").title is None
    assert read_text(b"# no Markdown", "a.py").title is None


def test_labels_cannot_break_a_line() -> None:
    assert label("a\nb\u202ec.txt") == "a\ufffdb\ufffdc.txt"
    assert label("naïve 猫.md") == "naïve 猫.md"
    assert label(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\ufffd"
