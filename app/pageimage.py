"""Draws a page of a PDF with a quote marked on it: `python -m app.pageimage FILE PAGE <quote >page.png`.

A process of its own, with limits: what it is given comes from anywhere.
"""

import contextlib
import ctypes
import io
import resource
import sys
import unicodedata
from bisect import bisect_left

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image, ImageChops, ImageDraw

WIDTH = 1100
"""Pixels across."""

TALLEST = 4000
YELLOW = (255, 228, 110)
MEMORY = 2 * 1024**3
LEAST = 0.5
"""The share of a quote's letters, from its beginning on, that is marked wherever on the page it stands; a few words
alone stand in many places."""
FEWEST, FOOT = 12, 40
"""Where a quote runs on to the next page: the letters of it that must stand on this one, and how many others (the
page's foot and number) may follow them."""


def draw(file: str, number: int, quote: str) -> bytes:
    """Page `number` (from 1) as PNG."""
    page = pypdfium2.PdfDocument(file)[number - 1]
    width, height = page.get_size()
    scale = min(WIDTH / width, TALLEST / height)
    image = page.render(scale=scale).to_pil().convert("RGB")
    marks = Image.new("RGB", image.size, "white")
    pen = ImageDraw.Draw(marks)
    for box in _boxes(page, quote, image.size):
        pen.rectangle(box, fill=YELLOW)
    out = io.BytesIO()
    ImageChops.multiply(image, marks).save(out, "PNG", optimize=True)
    return out.getvalue()


def _boxes(page: pypdfium2.PdfPage, quote: str, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Where the quote's lines stand on the picture: left, top, right, bottom."""
    textpage = page.get_textpage()
    text = "".join(textpage.get_text_range(n, 1)[:1] or " " for n in range(textpage.count_chars()))
    start, end = find(text, quote)
    boxes = []
    for n in range(textpage.count_rects(start, end - start) if end > start else 0):
        left, bottom, right, top = textpage.get_rect(n)
        (x0, y0), (x1, y1) = _on_picture(page, size, left, top), _on_picture(page, size, right, bottom)
        boxes.append((min(x0, x1) - 2, min(y0, y1) - 2, max(x0, x1) + 2, max(y0, y1) + 2))
    return boxes


def find(text: str, quote: str) -> tuple[int, int]:
    """Where the quote, or as much of its beginning as there is, stands in a text; only letters and digits count."""
    letters, places = _letters(text)
    wanted, _ = _letters(quote)
    # As many of its letters as stand there: the numbers up to that many all do, so the border can be halved for.
    most = bisect_left(range(1, len(wanted) + 1), True, key=lambda n: wanted[:n] not in letters)
    at = letters.rfind(wanted[:most])
    runs_on = most >= FEWEST and len(letters) - at - most <= FOOT
    if not most or (most < LEAST * len(wanted) and not runs_on):
        return 0, 0
    return places[at], places[at + most - 1] + 1


def _letters(text: str) -> tuple[str, list[int]]:
    """Letters and digits as a reader sees them, and the place of each."""
    letters, places = [], []
    for n, sign in enumerate(text):
        for letter in unicodedata.normalize("NFKC", sign).casefold():
            if letter.isalnum():
                letters.append(letter)
                places.append(n)
    return "".join(letters), places


def _on_picture(page: pypdfium2.PdfPage, size: tuple[int, int], x: float, y: float) -> tuple[int, int]:
    across, down = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDF_PageToDevice(page, 0, 0, *size, 0, x, y, ctypes.byref(across), ctypes.byref(down))
    return across.value, down.value


if __name__ == "__main__":
    with contextlib.suppress(ValueError, OSError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.stdout.buffer.write(draw(sys.argv[1], int(sys.argv[2]), sys.stdin.buffer.read().decode("utf-8", "replace")))
