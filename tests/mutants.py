"""Files of every kind, damaged in every way: the inputs of the fuzz run, each made again from its number alone."""

import io
import tarfile
import zipfile
from functools import cache
from random import Random

from tests import pandoc
from tests.app.test_extract_pdf import PAGES, pdf

_TOKENS = [
    *(b"<", b">", b"</p>", b"<table><tr><td>", b"&#x0;", b"&#x110000;", b"<!ENTITY a 'b'>", b"]]>", b"\0"),
    *(b"\xff\xfe", b"99999999999999999999", b"-1", b"/Kids [1 0 R]", b"/Parent 3 0 R", b"endobj", b"stream\n"),
    *(b"/Length 1e99", b"(", "\u202e".encode(), "\ud800".encode("utf-8", "surrogatepass"), b"<|im_end|>"),
    *(b'{"cells": [', b"[[[[[[[[", b"\\u0000", b"PK\x03\x04", b"PK\x01\x02", b"ustar", b"\x1f\x8b\x08", b".."),
    *(b"/etc/passwd", b"charset=utf-7", b"\r", b"\x1b[31m"),
]
PACKED = {"docx", "epub2", "epub3"}


@cache
def seeds() -> dict[str, bytes]:
    """A sound file of every kind, by kind."""
    text = pandoc.SAMPLE.encode()
    tar, zipped = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as made:
        for name in ("a.txt", "b/c.md"):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text))
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.txt", text)
        packed.writestr("b/c.md", text)
    made_by_pandoc = {kind: pandoc.make(kind) for kind in ("docx", "epub2", "epub3", "html", "ipynb", "rst")}
    return made_by_pandoc | {
        "csv": b"name,age\nAnn,31\n\"Bob, the\nsecond\",4\n", "md": text, "pdf": pdf([*PAGES, None], "A title"),
        "tar": tar.getvalue(), "txt": "Größe, 猫, Привет\n".encode("utf-16"), "zip": zipped.getvalue(),
    }


def mutant(kind: str, number: int) -> bytes:
    """Mutant `number` of a kind."""
    random = Random(f"{kind} {number}")
    data = seeds()[kind]
    if kind in PACKED and random.random() < 0.8:
        return _within(data, random)
    return _damaged(data, random)


def _within(data: bytes, random: Random) -> bytes:
    """A zip file with one member damaged: most damage to its bytes would never get past the checksums."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = [name for name in old.namelist() if name.endswith((".xml", ".xhtml", ".opf", ".ncx", ".rels"))]
        chosen = random.choice(names)
        for name in old.namelist():
            new.writestr(name, _damaged(old.read(name), random) if name == chosen else old.read(name))
    return out.getvalue()


def _damaged(data: bytes, random: Random) -> bytes:
    """Bytes changed, cut out, doubled, moved or put in, a few times over."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = random.randrange(len(made) + 1)
        length = min(random.choice((1, 2, 8, 64, 1_000)), len(made) - at)
        match random.randrange(7):
            case 0:
                made[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                del made[at : at + length]
            case 2:
                made[at:at] = made[at : at + length] * random.choice((1, 2, 50))
            case 3:
                made[at:at] = random.choice(_TOKENS) * random.choice((1, 1, 1, 300))
            case 4:
                made[at : at + length] = random.randbytes(length)
            case 5:
                made = made[:at] if random.random() < 0.3 else made
            case 6:
                other = random.randrange(len(made) + 1)
                made[at:at] = made[other : other + length]
    return bytes(made)
