"""Evidence: the passages of a document that a question's words lead to, and the sentences that fit it best."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.choosing import Asked, Chooser, stem
from app.extract.document import HEADER
from app.home import Home
from app.passages import Passage, Places
from app.sentences import passages, sentences

CANDIDATES = 8
"""Passages looked into. The right sentence of a whole SQuAD article or tale is in the first eight for 92 %."""

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

_LEANS = re.compile(
    r"^(and|but|so|then|why)\b|\b(he|him|his|she|hers?|it|its|they|them|their|this|that|these|those|there|then)\b",
    re.IGNORECASE,
)
"""Words that point back to what was said before."""


@dataclass(frozen=True)
class Found:
    """A passage and its sentences with how well each fits the question, best first. cover: the share of the
    question's words, weighted by how rare they are, that the passage holds."""

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


def find(home: Home, document_id: str, places: Places, question: str) -> list[Found]:
    """The passages for a question, best first; builds the document's index if there is none. `places`: the document's.

    Where the question asks of the text as a whole, its first and last passages come before all others. Empty if no
    passage holds a word of any other question.
    """
    index(home, document_id, places)
    asked = Asked.of(question)
    hits = home.evidence.search(document_id, asked.words, CANDIDATES)
    chooser = Chooser(asked, *home.evidence.spread(document_id, asked.words))
    best = hits[0].score if hits else 0.0
    ranked = {Passage(hit.char_start, hit.char_end): hit.score / best if best > 0 else 1.0 for hit in hits}
    found = sorted((_look(places, chooser, *each) for each in ranked.items()), key=lambda one: -one.score)
    if not asks_of_the_whole(question):
        return found
    edges = [_look(places, chooser, passage, 0.0) for passage in _edges(places, question)]
    return [*edges, *(one for one in found if one.passage not in {edge.passage for edge in edges})]


def _look(places: Places, chooser: Chooser, passage: Passage, rank: float) -> Found:
    """A passage with its sentences, scored. rank: its BM25 as a share of the best one's."""
    within = sentences(places.text, passage.char_start, passage.char_end)
    scored = sorted(((chooser.score(places.words(s), rank), s) for s in within), key=lambda each: -each[0])
    return Found(passage, tuple(scored), chooser.cover_of(places.words(passage)))


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


def in_context(question: str, earlier: Sequence[str]) -> str:
    """The words to look a question up by: with the question before it, if it leans on that (`And where did he go?`)."""
    if earlier and (_LEANS.search(question) or len(Asked.of(question).words) < 2):
        return f"{earlier[-1]} {question}"
    return question


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
        cut = [p for _, start, end in places.files for p in passages(places.text, start, end)]
        home.evidence.build(document_id, ((p.char_start, p.char_end, places.words(p)) for p in cut))


def shown(places: Places, chosen: Sequence[Passage]) -> str:
    """Passages as the model reads them: plain text in the document's order, each under its file's header line if the
    document has several files."""
    parts = []
    for passage in sorted(chosen, key=lambda one: one.char_start):
        words = places.words(passage)
        header = HEADER.format(places.locate(passage.char_start, passage.char_end).path)
        if len(places.files) > 1 and not words.startswith(header.strip()):
            words = header + words
        parts.append(words)
    return "\n\n".join(parts)
