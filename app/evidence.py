"""Evidence: the passages of a document that a question's words lead to, and the sentences that fit it best."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.choosing import Asked, Chooser, names_in, stem
from app.excerpts import around, line_of, share
from app.extract.document import HEADER
from app.home import Home
from app.passages import Passage, Places
from app.sentences import passages

CANDIDATES = 8
"""Passages looked into. The right sentence of a whole SQuAD article or tale is in the first eight for 92 %."""
SIZE = 700
"""Characters of an indexed passage at most; and of all that is shown, for each passage of evidence."""
SHORT = 2 * SIZE
"""Characters of a text of which half is shown anyway: it is not cut into smaller excerpts than that half."""

LEAST_COVER = 0.3
"""A question is foreign to a document if no passage holds this share of the question's words, weighted by
rarity. Measured with 440 of SQuAD's development questions: asked of another article 79 % are recognised (of another
paragraph 97 %), asked of their own 2.3 % are refused (3.2 %). Unanswerable ones made from the words of the same article
(SQuAD 2.0) it cannot tell apart: any threshold refuses about as many that have an answer."""
_SAID_OF_TEXTS = """
    abbreviation answer author begin beginning book chapter character claim close conclude conclusion conflict date
    dated define describe document drive end ending event evidence example explain fiction first genre happen hero
    idea important introduce introduction key last lesson list main mention mood moral name narrate narrator open
    opening paper people person perspective place plot point problem protagonist question read reader remember
    sentence set setting special start story style subject summarise summarize summary support take tale tell
    telling term text theme title tone topic true turning use view work worth write writer writing written wrote
"""
OF_ANY_TEXT = frozenset(map(stem, _SAID_OF_TEXTS.split()))
"""Stems of words that ask about a text as a whole and need not stand in it."""
OF_AN_END = frozenset({"close", "conclud", "conclus", "end"})
"""Those of them that ask about its end."""
EDGE = 3000
"""Characters at the beginning and at the end of a text in which its first and last passages are looked for."""

GAP = "\n\n"
"""Between passages that are shown."""

_YES_OR_NO = re.compile(
    r"\W*(is|are|was|were|am|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must)(n't)?\b",
    re.IGNORECASE,
)
_OPEN = re.compile(
    r"""\W*(why\b|what\s+happen|
    how\b(?!\s+(many|much|long|old|often|far|tall|big|large|high|deep|fast|wide|heavy|late|early|soon|close)\b)|
    what\s+(did|does|do|will|would|should|could|can|has|had|is|was|are|were)\b.*\b(do|done|doing|feel|think|happen)\b)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_GOES_ON = re.compile(r"\W*(and|but|so|then)\b|.*\b(there|then)\W*$", re.IGNORECASE | re.DOTALL)
_POINTS_BACK = re.compile(
    r"\b(he|him|his|she|hers?|it|its|they|them|their|this|these|those)\b"
    r"|(?<=\b(is|of)\s)that\b|(?<=\b(was|did|are)\s)that\b|(?<=\b(does|were|like)\s)that\b|(?<=\b(about|after)\s)that\b",
    re.IGNORECASE,
)
"""Words that point back to what was said before."""
SOON = 5
"""Words after which such a word points to one of the question's own (`What did the boy do when he came home?`)."""


@dataclass(frozen=True)
class Found:
    """A passage and its sentences with how well each fits the question, best first. cover: the share of the
    question's words, weighted by how rare they are, that an indexed passage holds which it has a part of."""

    passage: Passage
    sentences: tuple[tuple[float, Passage], ...]
    cover: float

    @property
    def sentence(self) -> Passage:
        """The sentence that fits best."""
        return self.sentences[0][1]

    @property
    def score(self) -> float:
        """How well that sentence fits."""
        return self.sentences[0][0]

    def within(self, room: int) -> "Found | None":
        """As much of it as `room` characters hold: its best sentence with neighbours. None if that alone is longer."""
        if self.passage.length <= room:
            return self
        if self.sentence.length > room:
            return None
        line = sorted((sentence for _, sentence in self.sentences), key=lambda one: one.char_start)
        part = line[around(line, line.index(self.sentence), room, ())]
        kept = tuple(scored for scored in self.sentences if scored[1] in part)
        return Found(Passage(part[0].char_start, part[-1].char_end), kept, self.cover)


def find(home: Home, document_id: str, places: Places, question: str, size: int = SIZE) -> list[Found]:
    """The passages for a question, best first; builds the document's index if there is none. `places`: the document's.

    Each is a sentence that fits, with its neighbours as far as `size` characters go (SIZE, for a question about code or
    a SHORT text); a sentence is in one of them only. Where the question asks of the text as a whole, its first and last
    passages come before all others. Empty if no passage holds a word of any other question.
    """
    index(home, document_id, places)
    asked = Asked.of(question)
    size = SIZE if asked.of_code or len(places.text) <= SHORT else size
    hits = home.evidence.search(document_id, asked.words, CANDIDATES)
    chooser = Chooser(asked, *home.evidence.spread(document_id, asked.words))
    best = hits[0].score if hits else 0.0
    ranked = {Passage(hit.char_start, hit.char_end): hit.score / best if best > 0 else 1.0 for hit in hits}
    found = _excerpts([_look(places, chooser, *each, size) for each in ranked.items()], size)
    if not asks_of_the_whole(question):
        return found
    looked = [_look(places, chooser, passage, 0.0, size) for passage in _edges(places, question)]
    edges = [one.found(slice(one.own.start, one.own.stop), one.cover) for one in looked]
    return [*edges, *(one for one in found if not any(share(one.passage, edge.passage) for edge in edges))]


def chosen(found: Sequence[Found], count: int) -> list[Found]:
    """The best of what was found, as much as is shown where `count` passages are: as many characters as those have.
    The first of it in any case; what is longer than the room left is cut to that."""
    taken: list[Found] = []
    room = count * SIZE
    for one in found:
        part = one.within(room) if taken else one
        if part is None:
            break
        taken.append(part)
        room -= part.passage.length
    return taken


@dataclass(frozen=True)
class _Looked:
    """An indexed passage: the sentences in it and around it, each with how well it fits; which are its own; its
    cover."""

    passage: Passage
    line: list[Passage]
    own: range
    fits: list[float]
    cover: float

    def found(self, part: slice, cover: float) -> Found:
        """A part of the line as what was found."""
        line = self.line[part]
        scored = sorted(zip(self.fits[part], line, strict=True), key=lambda each: -each[0])
        return Found(Passage(line[0].char_start, line[-1].char_end), tuple(scored), cover)


def _look(places: Places, chooser: Chooser, passage: Passage, rank: float, size: int) -> _Looked:
    """What a passage has for a question. rank: its BM25 as a share of the best one's."""
    line, own = line_of(places, passage, size)
    words = ["", *map(places.words, line), ""]
    fits = [chooser.score(words[n], rank, " ".join(words[n - 1 : n + 2])) for n in range(1, len(line) + 1)]
    return _Looked(passage, line, own, fits, chooser.cover_of(places.words(passage)))


def _excerpts(looked: Sequence[_Looked], size: int) -> list[Found]:
    """Excerpts of passages, the best first: around their sentences, in the order in which these fit."""
    anchors = [(one.fits[n], one, n) for one in looked for n in one.own]
    found: list[Found] = []
    for _, one, n in sorted(anchors, key=lambda anchor: -anchor[0]):
        taken = [each.passage for each in found]
        if any(share(one.line[n], other) for other in taken):
            continue
        part = around(one.line, n, size, taken)
        whole = Passage(one.line[part][0].char_start, one.line[part][-1].char_end)
        found.append(one.found(part, max(each.cover for each in looked if share(each.passage, whole))))
    return found


def _edges(places: Places, question: str) -> list[Passage]:
    """The first and the last passage of a text, the one first that is asked about; none of an empty text."""
    if not places.files:
        return []
    (_, start, end), (_, last_start, last_end) = places.files[0], places.files[-1]
    first = passages(places.text, start, min(end, start + EDGE))[:1]
    last = passages(places.text, max(last_start, last_end - EDGE), last_end)[-1:]
    asked = {stem(word) for word in Asked.of(question).words}
    return list(dict.fromkeys([*last, *first] if asked & OF_AN_END else [*first, *last]))


def asks_of_the_whole(question: str) -> bool:
    """Whether a question asks about the text as a whole (`Where does the story take place?`), in words that lead to no
    place in it."""
    return {stem(word) for word in Asked.of(question).words} <= OF_ANY_TEXT


def asks_for_words(question: str, look_up: str) -> bool:
    """Whether words of a text may answer a question: not one for yes or no, of code, or of the text as a whole.
    look_up: the words that passages are found by."""
    return not (is_for_yes_or_no(question) or Asked.of(look_up).of_code or asks_of_the_whole(look_up))


def is_for_yes_or_no(question: str) -> bool:
    """Whether a question is answered by yes or no."""
    return _YES_OR_NO.match(question) is not None


def is_open(question: str) -> bool:
    """Whether a question asks for reasons, for a way, or for what happens or somebody does: what answers it is often
    said in more words than could be pointed to, or in none."""
    return _OPEN.match(question) is not None


def in_context(question: str, earlier: Sequence[str]) -> str:
    """The words to look a question up by: with the question before it, if it leans on that (`And where did he go?`); of
    one about code with the name that it points back to (`And who calls it?`)."""
    if not earlier or not _leans(question):
        return question
    named = _POINTS_BACK.sub("".join(names_in(earlier[-1])[-1:]), question, count=1)
    return named if Asked.of(named).names else f"{earlier[-1]} {question}"


def _leans(question: str) -> bool:
    """Whether a question leans on the one before: it goes on from it, says hardly anything by itself, or soon points
    back, and not to a name of its own."""
    if len(Asked.of(question).words) < 2 or _GOES_ON.match(question):
        return True
    if (found := _POINTS_BACK.search(question)) is None:
        return False
    before = question[: found.start()].split()
    return len(before) < SOON and not any(word[0].isupper() for word in before[1:])


def is_foreign(question: str, found: Sequence[Found]) -> bool:
    """Whether a question asks for things that the document does not treat at all: its words (two or more, and not such
    as are asked of any text) are hardly in it."""
    words = {stem(word) for word in Asked.of(question).words} - OF_ANY_TEXT
    return len(words) > 1 and max((one.cover for one in found), default=0.0) < LEAST_COVER


def near_words(home: Home, document_id: str, places: Places, quote: str) -> list[Passage]:
    """The passages in which words most likely stand that resemble a quote, best first."""
    index(home, document_id, places)
    hits = home.evidence.search(document_id, Asked.of(quote).words, CANDIDATES)
    return [Passage(hit.char_start, hit.char_end) for hit in hits]


def index(home: Home, document_id: str, places: Places) -> None:
    """Make sure that a document's passages are in the index."""
    if not home.evidence.ready(document_id):
        cut = [p for _, start, end in places.files for p in passages(places.text, start, end, SIZE)]
        home.evidence.build(document_id, ((p.char_start, p.char_end, places.words(p)) for p in cut))


def shown(places: Places, chosen: Sequence[Passage]) -> str:
    """Passages as the model reads them: plain text in the document's order, each under its file's header line if the
    document has several files. What follows in the text is one."""
    return GAP.join(header + places.words(passage) for header, passage in laid_out(places, chosen))


def laid_out(places: Places, chosen: Sequence[Passage]) -> list[tuple[str, Passage]]:
    """Passages in the order in which they are shown, each with the header line above it, if there is one."""
    parts: list[tuple[str, Passage]] = []
    path = ""
    for passage in _joined(places, chosen):
        last, path = path, places.locate(passage.char_start, passage.char_end).path
        header = HEADER.format(path)
        is_new = len(places.files) > 1 and path != last and not places.words(passage).startswith(header.strip())
        parts.append((header if is_new else "", passage))
    return parts


def _joined(places: Places, chosen: Sequence[Passage]) -> list[Passage]:
    """Passages in the document's order, those that only blanks part made one."""
    joined: list[Passage] = []
    for passage in sorted(chosen, key=lambda one: one.char_start):
        last = joined[-1] if joined else None
        if last is not None and places.words(Passage(last.char_end, passage.char_start)).isspace():
            joined[-1] = Passage(last.char_start, passage.char_end)
        else:
            joined.append(passage)
    return joined
