"""Whether a quote is found where it stands: sentences of whole documents, verbatim, typeset otherwise, miswritten.

Right is any place at which the document has the sentence's words; a citation that claims another one is wrong, one that
claims none is missed. Documents come from $ONCEREAD_EVAL (by default ../shared/eval).
"""

import random
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from app import library
from app.answers import places_of
from app.citations import cite
from app.evidence import near_words
from app.home import Home
from app.sentences import sentences
from app.settings import Settings
from model.training.evaluate import read_rows
from tests.app.test_citations import typeset
from tests.bench.answers import EVAL

ROWS = 60
"""Sentences of each document."""
WORDS = 6
"""Words that a sentence has at least."""
_WORD = re.compile(r"\w+")


def miswritten(sentence: str, seed: int) -> str:
    """The sentence with a letter of each tenth word changed, one at least, as a small model may copy it."""
    chance = random.Random(seed)
    words = sentence.split()
    for n in chance.sample(range(len(words)), max(1, len(words) // 10)):
        at = chance.randrange(len(words[n]))
        words[n] = words[n][:at] + chance.choice("aeinorst") + words[n][at + 1 :]
    return " ".join(words)


WAYS: dict[str, Callable[[str, int], str]] = {
    "as it stands": lambda sentence, seed: sentence,
    "in one line, without capitals": lambda sentence, seed: " ".join(sentence.split()).lower(),
    "typeset otherwise": typeset,
    "a letter in ten words wrong": miswritten,
}


def run() -> list[str]:
    """Measure; returns the lines of a Markdown table."""
    rows = [row for name in ("whole-documents", "books") for row in read_rows(EVAL / f"{name}.jsonl.xz")]
    counts = {way: [0, 0, 0] for way in WAYS}
    settings = Settings.from_environment()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Settings(Path(folder) / "home", settings.model, settings.device))
        for number, row in enumerate(rows):
            _count(home, Path(folder), number, row["text"], counts)
        home.close()
    lines = [f"{len(rows)} documents, {ROWS} sentences of each", "",
             "| a sentence, quoted | asked | place exact | none claimed | wrong place |", "|---|---|---|---|---|"]
    for way, (right, missed, wrong) in counts.items():
        asked = right + missed + wrong
        lines.append(f"| {way} | {asked:,} | {100 * right / asked:.2f} % | {100 * missed / asked:.2f} % "
                     f"| {100 * wrong / asked:.2f} % |")
    return lines


def _count(home: Home, folder: Path, number: int, text: str, counts: dict[str, list[int]]) -> None:
    """Quote a document's sentences in every way."""
    path = folder / f"{number}.txt"
    path.write_text(text, "utf-8")
    document = library.add(home, [path]).id
    places = places_of(home, document)
    long = [s for s in sentences(places.text) if len(places.words(s).split()) >= WORDS]
    for seed, sentence in enumerate(random.Random(number).sample(long, min(ROWS, len(long)))):
        words = places.words(sentence)
        for way, change in WAYS.items():
            (found,) = cite([change(words, seed)], places.text, places, partial(near_words, home, document, places))
            right = found.verified and _WORD.findall(found.quote) == _WORD.findall(words)
            counts[way][0 if right else 2 if found.verified else 1] += 1
