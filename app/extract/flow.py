"""Text put together the way a page is set: blanks run together, blocks stand on lines of their own."""

from __future__ import annotations

import re

from app.extract.parts import Heading

SMALL = {
    "sup": str.maketrans("0123456789+-−=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱ"),
    "sub": str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎"),
}
"""Raised and lowered signs: without them 10⁶ would read 106."""
_BLANKS = re.compile(r"[ \t\n\r\f]+")


class Flow:
    """Collects text piece by piece.

    While `verbatim` is above 0, blanks and line ends stay as they are; while `cells` is, a row stays on its line.
    """

    def __init__(self) -> None:
        self.verbatim = 0
        self.cells = 0
        self.headings: list[Heading] = []
        self._pieces: list[str] = []
        self._length = 0
        self._breaks = 0  # line ends owed before the next visible character
        self._blank = False  # a blank owed likewise
        self._led = False  # whether a bullet or the like waits for its words
        self._heading: tuple[int, int] | None = None  # its level and the piece it begins with

    def write(self, text: str, keep: bool = False) -> None:
        """Add text; unless `keep` or in verbatim text, runs of blanks become one and none begins a line."""
        if keep or (self.verbatim and not self.cells):
            if text:
                self._settle()
                self._add(text)
            return
        text = _BLANKS.sub(" ", text)
        words = text.strip(" ")
        if text[:1] == " ":
            self._blank = True
        if words:
            self._settle()
            self._add(words)
            self._blank = text[-1] == " "

    def lead(self, text: str) -> None:
        """Write what stands before words on their line: a bullet, a number, the bar between two cells."""
        self._blank = False
        self._settle()
        self._add(text)
        self._led = True

    def newline(self) -> None:
        """End the line; two of them leave a blank one."""
        if self.cells:
            self._blank = True
        elif not self._led:
            self._breaks += 1

    def block(self, breaks: int) -> None:
        """Begin or end a block: a new line (1), or a blank one between (2)."""
        if self.cells:
            self._blank = True
        elif not self._led:
            self._breaks = max(self._breaks, breaks)

    def open_heading(self, level: int) -> None:
        """What is written from here on is a heading."""
        self._heading = (level, len(self._pieces))

    def close_heading(self) -> None:
        """The heading ends; one without words is none."""
        if self._heading is None:
            return
        level, first = self._heading
        self._heading = None
        written = "".join(self._pieces[first:])
        if title := " ".join(written.split()):
            start = self._length - len(written.lstrip())
            self.headings.append(Heading(level, title, start))

    def pieces(self) -> int:
        """How many pieces were written so far."""
        return len(self._pieces)

    def restyle(self, first: int, signs: dict[int, int]) -> None:
        """Replace the signs written since there were `first` pieces, if all of them can be (the length stays)."""
        written = "".join(self._pieces[first:])
        if written.strip() and all(ord(sign) in signs or sign in " \n" for sign in written):
            self._pieces[first:] = [written.translate(signs)]

    def trim(self) -> None:
        """Take back a line end that verbatim text ends with: the block after it brings its own."""
        if self._pieces and self._pieces[-1].endswith("\n"):
            self._pieces[-1] = self._pieces[-1][:-1]
            self._length -= 1

    def mark(self) -> int:
        """Where the next visible character will stand."""
        return self._length + (self._breaks if self._length else 0)

    def text(self) -> str:
        """All that was written, with one line end at its end."""
        written = "".join(self._pieces)
        return written + "\n" if written and not written.endswith("\n") else written

    def _settle(self) -> None:
        """Write the line ends or the blank that are owed."""
        if self._breaks:
            if self._length:
                self._add("\n" * min(self._breaks, 2))
        elif self._blank and self._length and not self._pieces[-1].endswith(("\n", " ")):
            self._add(" ")
        self._breaks, self._blank, self._led = 0, False, False

    def _add(self, text: str) -> None:
        self._pieces.append(text)
        self._length += len(text)
