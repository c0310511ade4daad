"""Scanned pages read by tesseract, when a person asks for it: `onceread[ocr]` and the program itself are needed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache

from app.errors import SourceError

_DOTS_PER_POINT = 300 / 72
_MOST_DOTS = 40_000_000
"""Of one page; a larger one is drawn smaller."""
_SECONDS = 50


def languages() -> list[str]:
    """The languages that scanned pages can be read in here, as tesseract names them; none where OCR cannot be done."""
    if not (importlib.util.find_spec("pytesseract") and importlib.util.find_spec("pypdfium2")):
        return []
    known = _known() if shutil.which("tesseract") else []
    return sorted(set(known) - {"osd"}, key=lambda name: (name != "eng", name))


@cache
def _known() -> list[str]:
    listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=False).stdout
    return [line.strip() for line in listed.splitlines() if ":" not in line and line.strip()]


def check_ocr(language: str) -> None:
    """Raises `SourceError` if pages in a language (as tesseract names it: eng, deu, eng+deu) could not be read."""
    if not (importlib.util.find_spec("pytesseract") and importlib.util.find_spec("pypdfium2")):
        raise SourceError("reading scanned pages needs more packages: pip install 'onceread[ocr]'")
    if not shutil.which("tesseract"):
        raise SourceError("reading scanned pages needs the program tesseract: install it (Debian: tesseract-ocr)")
    if missing := [each for each in language.split("+") if each not in languages()]:
        raise SourceError(f"tesseract does not know the language {missing[0]} (it knows {', '.join(languages()[:30])})")


def pages(data: bytes, numbers: Sequence[int], language: str) -> Iterator[tuple[int, str, bool, str | None, list[str]]]:
    """As `pdf.pages`, but what is drawn on them."""
    import pytesseract

    from app.extract.pdfium import open_pdf  # long to import, and only those who read scans need it

    document = open_pdf(data)
    for number in numbers:
        page = document[number - 1]
        width, height = page.get_size()
        scale = min(_DOTS_PER_POINT, (_MOST_DOTS / max(width * height, 1)) ** 0.5)
        image = page.render(scale=scale, grayscale=True).to_pil()
        page.close()
        try:
            text = pytesseract.image_to_string(image, lang=language, timeout=_SECONDS)
        except (RuntimeError, pytesseract.TesseractError) as error:
            yield number, "", True, f"OCR failed ({' '.join(str(error).split())[:100]})", []
        else:
            yield number, text.strip("\n\f "), True, None, []
