"""DOCX, made by pandoc and by hand."""

import io
import zipfile

import pytest

from app.extract.parts import Unreadable
from app.extract.word import read_word
from tests import pandoc

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def document(body: str, namespace: str = W, **parts: str) -> bytes:
    """A document with this body and these other parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, inner in {"document": f"<w:body>{body}</w:body>", **parts}.items():
            made.writestr(f"word/{name}.xml", f'<w:{name} xmlns:w="{namespace}">{inner}</w:{name}>')
    return out.getvalue()


def p(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def shown(body: str, **parts: str) -> str:
    [text] = read_word(document(body, **parts), "").pages
    return text


def test_a_document_made_by_pandoc() -> None:
    read = read_word(pandoc.make("docx"), "a.docx")
    [text] = read.pages
    pandoc.assert_in_order([word for word in pandoc.WORDS if "footnote" not in word], text)
    assert text.endswith("[1] A footnote says so.\n") or text.endswith("[1]  A footnote says so.\n")
    assert "It was cold.[1]" in text
    assert "10⁶ rivers and H₂O" in text
    assert "Name | Age | City\nAnn | 31 | Bonn\nBob | 4 | Köln\n" in text
    assert read.title == "The Mill"
    assert [(heading.level, heading.title) for heading in read.outline] == pandoc.OUTLINE
    assert all(text[heading.char_start :].startswith(heading.title) for heading in read.outline)


def test_numbers_are_drawn_as_word_draws_them() -> None:
    levels = "".join(
        f'<w:lvl w:ilvl="{n}"><w:numFmt w:val="{form}"/><w:lvlText w:val="{text}"/></w:lvl>'
        for n, (form, text) in enumerate([("decimal", "§%1"), ("lowerLetter", "(%2)"), ("upperRoman", "%1.%3")])
    )
    numbering = f'<w:abstractNum w:abstractNumId="7">{levels}</w:abstractNum>'
    numbering += '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>'

    def item(text: str, depth: int) -> str:
        return p(text, f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="1"/></w:numPr>')

    body = item("a", 0) + item("b", 1) + item("c", 1) + item("d", 2) + item("e", 0) + item("f", 1) + p("g")
    assert shown(body, numbering=numbering) == "§1 a\n  (a) b\n  (b) c\n    1.I d\n§2 e\n  (a) f\n\ng\n"


def test_tracked_changes_and_fields() -> None:
    body = "<w:p><w:r><w:t>kept</w:t></w:r><w:ins><w:r><w:t> new</w:t></w:r></w:ins>"
    body += "<w:del><w:r><w:delText> old</w:delText></w:r></w:del>"
    body += "<w:r><w:instrText>PAGE</w:instrText></w:r><w:r><w:tab/><w:t>x</w:t><w:br/><w:t>y</w:t></w:r></w:p>"
    read = read_word(document(body), "")
    assert read.pages == ("kept new\tx\ny\n",)
    assert read.notes == ("1 deleted passage (tracked changes) left out",)


def test_the_strict_form() -> None:
    strict = document(p("words"), "http://purl.oclc.org/ooxml/wordprocessingml/main")
    assert read_word(strict, "").pages == ("words\n",)


def test_what_cannot_be_read() -> None:
    with pytest.raises(Unreadable, match="locked by a password, or of Word's old format"):
        read_word(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "")
    with pytest.raises(Unreadable, match=r"no text in it \(only pictures"):
        read_word(document("<w:p><w:r><w:drawing/></w:r></w:p>"), "")
    with pytest.raises(Unreadable, match="broken or cut short"):
        read_word(pandoc.make("docx")[:-100], "")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("word/document.xml", '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>')
    with pytest.raises(Unreadable, match="an XML bomb"):
        read_word(out.getvalue(), "")
