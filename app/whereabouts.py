"""Where a line of code stands: in which file something is defined, which function calls it.

Where a question has its name word for word, the lines that define or call it are found by their form, all through the
text, and where they stand is the answer: neither search nor model is needed. Elsewhere the line that fits best is
quoted with what it stands in.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from app.choosing import Asked, is_answer_in_code
from app.extract.text import PROGRAMS
from app.passages import Passage, Places
from app.source import SHORT, defined, definition_around, file_header, lines_with

LISTED = 12
"""Places that an answer names, at most."""
_CODE = frozenset({*PROGRAMS, ".js", ".cjs", ".jsx", ".vue", ".svelte", ".ipynb"})
"""Files whose lines define and call; others may speak of that in lines that look so."""


def lines_asked_for(places: Places, asked: Asked) -> Iterator[tuple[Passage, str]]:
    """The lines whose place answers, each place once, in the text's order, and the name of that: where a name of a file
    or of a function is asked for, those that define, or call, what the question names word for word."""
    seen = {""}
    for line in lines_with(places.text, asked.names) if asked.of_names else ():
        if asked.has_name_of(places.words(line)) and _is_code(places, line):
            if (name := _name(places, line, asked)) not in seen:
                yield line, name
            seen.add(name)


def name_asked_for(places: Places, line: Passage, asked: Asked) -> str:
    """Where the place of a line of code answers, the name asked for: of the file that it is in, or of the function that
    it is called in; "" for other lines and other questions."""
    answers = asked.of_names and is_answer_in_code(asked, places.words(line))
    return _name(places, line, asked) if answers else ""


def _name(places: Places, line: Passage, asked: Asked) -> str:
    if not asked.of_files:
        outer = definition_around(places, line)
        return defined(places.words(outer)) if outer else ""
    return _file(places, line) if file_header(places, line) else ""


def quoted(places: Places, sentence: Passage, asked: Asked) -> tuple[Passage, str]:
    """What is quoted where a sentence answers, and how the reply shows it. A line of code says little without what it
    stands in: a call comes with the line that begins the function around it, and where a file is asked for, any line
    with its file's header."""
    above = []
    if asked.kind == "caller" and (outer := definition_around(places, sentence)):
        if sentence.char_end - outer.char_start <= SHORT:
            sentence = Passage(outer.char_start, sentence.char_end)
        else:
            above = [places.words(outer)]
    if asked.of_files and (header := file_header(places, sentence)):
        above = [header, *above]
    return sentence, " … ".join(" ".join(words.split()) for words in (*above, places.words(sentence)))


def _is_code(places: Places, line: Passage) -> bool:
    return PurePosixPath(_file(places, line)).suffix.lower() in _CODE


def _file(places: Places, line: Passage) -> str:
    return places.locate(line.char_start, line.char_end).path
