"""Excerpts: a sentence with its neighbours, as far as a number of characters goes."""

from collections.abc import Sequence

from app.passages import Passage, Places
from app.sentences import LONGEST, sentences


def line_of(places: Places, passage: Passage, margin: int) -> tuple[list[Passage], range]:
    """The sentences of a passage and of about `margin` characters to either side of it, in the same file; and which of
    them are its own."""
    text = places.text
    first, last = next((start, end) for _, start, end in places.files if start <= passage.char_start < end)
    start, end = max(first, passage.char_start - margin - LONGEST), min(last, passage.char_end + margin + LONGEST)
    before = list(sentences(text, start, passage.char_start))[start > first :]  # the outermost may be half a sentence
    own = list(sentences(text, passage.char_start, passage.char_end))
    after = list(sentences(text, passage.char_end, end))
    after = after[:-1] if end < last else after
    return [*before, *own, *after], range(len(before), len(before) + len(own))


def around(line: Sequence[Passage], number: int, size: int, taken: Sequence[Passage]) -> slice:
    """Which sentences of a line make the excerpt around one of them: by turns the next and the one before, as long as
    it has at most `size` characters and shares none with what is taken."""
    first, last = number, number

    def fits(begin: int, end: int) -> bool:
        if begin < 0 or end >= len(line):
            return False
        whole = Passage(line[begin].char_start, line[end].char_end)
        return whole.length <= size and not any(share(whole, other) for other in taken)

    grew = True
    while grew:
        before = first, last
        last += fits(first, last + 1)
        first -= fits(first - 1, last)
        grew = (first, last) != before
    return slice(first, last + 1)


def share(one: Passage, other: Passage) -> bool:
    """Whether two passages share characters."""
    return one.char_start < other.char_end and other.char_start < one.char_end
