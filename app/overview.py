"""A document at a glance: its outline, what each part says in its own sentences, its key terms, and what to ask.

Everything here is the document's own words with their places; no model is asked. A part's summary is the sentences that
hold most of the words the part keeps coming back to (SumBasic: Nenkova and Vanderwende, 2005), so that it is as true of
a small model's library as of a large one's.
"""

import re
from collections import Counter
from dataclasses import dataclass

from app import answers
from app.choosing import Asked, has_content, stem
from app.citations import Citation, at
from app.errors import OncereadError
from app.home import Home
from app.passages import Passage, Places
from app.sentences import sentences

_HEADING = re.compile(
    r"(?:^|(?<=\n))[ \t]*((?:chapter|part|book|section|act|canto|letter)\b[^\n]{0,70}|#{1,6} [^\n]{1,90}"
    r"|[IVXLC]{1,7}\.?|(?:\d{1,2}\.)+\d{0,2} [A-Z][^\n.]{2,70}|[A-Z][A-Z0-9 ,'’:&-]{3,60})[ \t]*(?=\n)", re.IGNORECASE,
)
_NAME = re.compile(r"(?<![.!?\"“”] )(?<![\n\"“])\b[A-Z][\w’'-]+(?: (?:(?:of|the|de|von) )?[A-Z][\w’'-]+)*")
ASKED = 4
"""Questions offered."""


@dataclass(frozen=True)
class Section:
    """A part of a document: its heading's words and depth (1 is the highest), and where it stands, heading included."""

    title: str
    level: int
    passage: Passage


@dataclass(frozen=True)
class Summary:
    """What a part says, in its own sentences, in their order."""

    title: str
    sentences: tuple[Citation, ...]


@dataclass(frozen=True)
class Term:
    """A name or word that a document keeps coming back to, how often, and where it stands first."""

    term: str
    count: int
    first: Citation


def outline(home: Home, document_id: str) -> list[Section]:
    """The parts of a document: by its own outline, else by the files it is made of, else by lines that look like
    headings; empty if there are none. A part ends where the next of the same depth or a higher one begins."""
    places = answers.places_of(home, document_id)
    found = [(h.char_start, h.title, h.level) for h in home.documents.outline(document_id)]
    if not found and len(places.files) > 1:
        found = [(start, path, 1) for path, start, _ in places.files]
    found = found or _headings(places.text)
    parts = []
    for n, (start, title, level) in enumerate(found):
        end = next((later for later, _, depth in found[n + 1 :] if depth <= level), len(places.text))
        parts.append(Section(title, level, Passage(start, end)))
    return parts


def summary(home: Home, document_id: str, part: str | None = None, most: int = 3) -> list[Summary]:
    """What a document says, part by part (the highest ones), each in at most `most` of its own sentences.

    part: only the parts whose title holds these words, or the files in that folder. Raises OncereadError if none does.
    """
    places = answers.places_of(home, document_id)
    parts = outline(home, document_id)
    if part is not None:
        chosen = [section for section in parts if part.casefold() in section.title.casefold()]
        if not chosen:
            raise OncereadError(f"no part of the document is called {part!r}: `onceread outline` shows what there is")
    else:
        top = min((section.level for section in parts), default=1)
        chosen = [section for section in parts if section.level == top]
    chosen = chosen or [Section("the whole document", 1, Passage(0, len(places.text)))]
    return [Summary(section.title, tuple(_central(places, section.passage, most))) for section in chosen]


def key_terms(home: Home, document_id: str, most: int = 12) -> list[Term]:
    """The names that a document mentions most, each with the place of its first mention."""
    places = answers.places_of(home, document_id)
    counts: Counter[str] = Counter()
    first: dict[str, int] = {}
    for found in _NAME.finditer(places.text):
        term = " ".join(found[0].split()).removesuffix("'s").removesuffix("’s")
        begins = Asked.of(term).words[0].capitalize() == term.split()[0].capitalize()
        if has_content(term) and (begins or " " in term):
            counts[term] += 1
            first.setdefault(term, found.start())
    often = [(term, count) for term, count in counts.most_common() if count > 1 and len(term) > 2][:most]
    return [Term(t, count, at(Passage(first[t], first[t] + len(t)), places)) for t, count in often]


def questions(home: Home, document_id: str) -> list[str]:
    """Questions worth asking, made of the document's own names and headings; none from a text that has neither."""
    titled = [_plain(s.title) for s in outline(home, document_id) if len(Asked.of(s.title).words) > 1]
    headed = [f"What does the document say about {title}?" for title in titled if title][:ASKED]
    terms = key_terms(home, document_id, max(ASKED // 2, ASKED - len(headed)))
    return [*(f"Who or what is {term.term}?" for term in terms), *headed][:ASKED]


def _headings(text: str) -> list[tuple[int, str, int]]:
    found = []
    for match in _HEADING.finditer(text):
        line = match[1]
        before, behind = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 2]
        alone = before in ("", "\n") and behind in ("\n\n", "\n")
        shouted = line.isupper() or line[:1] == "#" or line[:1].isdigit() or line.split()[0].istitle()
        if alone and shouted:
            marks = len(line) - len(line.lstrip("#"))
            found.append((match.start(1), line.lstrip("# ").strip(), marks or 1))
    return found


def _central(places: Places, part: Passage, most: int) -> list[Citation]:
    """The sentences of a part that hold most of its frequent words; a word once told counts less."""
    found = [s for s in sentences(places.text, part.char_start, part.char_end) if len(places.words(s).split()) > 5]
    words = [{stem(word) for word in Asked.of(places.words(s)).words} for s in found]
    share: dict[str, float] = {word: n / max(1, len(found)) for word, n in Counter(w for s in words for w in s).items()}
    chosen: list[int] = []
    for _ in range(min(most, len(found))):
        best = max(set(range(len(found))) - {*chosen}, key=lambda n: (_mean(words[n], share), -n))
        chosen.append(best)
        share |= {word: share[word] ** 2 for word in words[best]}
    return [at(found[n], places) for n in sorted(chosen)]


def _mean(words: set[str], share: dict[str, float]) -> float:
    return sum(share[word] for word in words) / max(8, len(words))


def _plain(title: str) -> str:
    """A heading without its number, as it would stand in a sentence; empty if it is nothing else."""
    spelt = r"(?:one|two|three|four|five|six|seven|eight|nine|ten)\b"
    number = (
        rf"^\s*(?:(?:chapter|part|section)\s+(?:{spelt}|[\divxlc]+\b)[.:)]*"
        r"|(?:chapter|part|section)?\s*(?:(?:[\divxlc]+[.:)]+)+\d*|\d+)?)\s*(?:[-—–:]\s*)?"
    )
    title = re.sub(number, "", title, flags=re.IGNORECASE)
    return title.capitalize() if title.isupper() else title
