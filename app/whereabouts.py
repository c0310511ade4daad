"""Where a line of code stands: in which file something is defined, which function calls it.

Where a question has its name word for word, the lines that define or call it are found by their form, all through the
text, and where they stand is the answer: neither search nor model is needed. Elsewhere the line that fits best is
quoted with what it stands in.
"""

import re
from pathlib import PurePosixPath

from app.choosing import Asked, is_answer_in_code, is_name
from app.extract.text import PROGRAMS
from app.passages import Passage, Places
from app.source import SHORT, defined, definition_around, encloses, file_header, holds, lines_with

LISTED = 12
"""Places that an answer names, at most."""
LONGEST = 1000
"""Characters of a line that a person wrote; longer ones are a machine's, and say nothing of where they stand."""
_CODE = frozenset({*PROGRAMS, ".js", ".cjs", ".jsx", ".vue", ".svelte", ".ipynb"})
"""Files whose lines define and call; others may speak of that in lines that look so."""


def lines_asked_for(places: Places, asked: Asked) -> tuple[tuple[Passage, str], ...]:
    """The lines whose place answers, each place once, in the text's order, and the name of that: where a name of a file
    or of a function is asked for, those that define, call or use what the question names word for word. Empty where
    it cannot be told for one of them: what is left would look as if it were all."""
    found: dict[tuple[int, str], tuple[Passage, str, str]] = {}
    for line in lines_with(places.text, asked.names):
        if asked.has_name_of(places.words(line)) and PurePosixPath(_file(places, line)).suffix.lower() in _CODE:
            place = _place(places, line, asked) if line.length <= LONGEST else None
            if place is None:
                return ()
            found.setdefault(place[:2], (line, place[1], place[2]))
    names = [name for _, name, _ in found.values()]
    return tuple((line, more if names.count(name) > 1 else name) for line, name, more in found.values())


def _place(places: Places, line: Passage, asked: Asked) -> tuple[int, str, str] | None:
    """The character at which the place begins that is asked for (of a file 0), its name, and a longer one for where
    that is another's, too; None where it cannot be told."""
    file = _file(places, line)
    if asked.of_files:
        return 0, file, file
    outer = line if encloses(places.words(line)) else definition_around(places, line)
    if outer is None:
        outside = f"{file} (outside functions)"
        at_edge = places.text[line.char_start - 1 : line.char_start] in ("", "\n")
        return (0, outside, outside) if at_edge or file.endswith(".py") else None
    words = places.words(outer)
    if holds(words) and not file.endswith(".py"):
        return None  # the function in it begins in a way that is not known
    around = definition_around(places, outer)
    longer = f"{defined(places.words(around))}.{defined(words)}" if around else f"{defined(words)} ({file})"
    return outer.char_start, defined(words), longer


def are_absent(places: Places, asked: Asked) -> bool:
    """Whether a question of code has names, and none of them stands anywhere in the text, in whatever letters."""
    names = "|".join(map(re.escape, filter(is_name, asked.names)))
    return bool(names) and re.search(rf"\b(?:{names})\b", places.text, re.IGNORECASE) is None


def name_asked_for(places: Places, line: Passage, asked: Asked) -> str:
    """Where the place of a line of code answers, the name asked for: of the file that it is in, or of the function that
    it is called in; "" for other lines and other questions."""
    if not asked.of_names or not is_answer_in_code(asked, places.words(line)):
        return ""
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


def _file(places: Places, line: Passage) -> str:
    return places.locate(line.char_start, line.char_end).path
