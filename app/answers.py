"""A question on its way to an answer, in two pure steps around the model: `prepare`, and `finish`.

Between the two the model reads `Prepared.ids` after the document's state and writes on from `Prepared.opening`. Who
runs it is free to: `session.ask` streams one question, a report asks many from one state.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache

from app import prompts, reading
from app.choosing import Asked, is_answer_in_code
from app.citations import Citation, Reply, at, cite, parse_reply
from app.claims import Claim, claims
from app.dialogue import Exchange, question_ids
from app.evidence import (
    Found,
    asks_for_words,
    asks_of_the_whole,
    chosen,
    find,
    in_context,
    is_for_yes_or_no,
    is_foreign,
    near_words,
    shown,
)
from app.home import Home
from app.passages import Passage, Places
from app.whereabouts import LISTED, are_absent, lines_asked_for, name_asked_for, quoted
from model.sampling import Sampling
from storage.conversations import Message

NEAREST = 3
"""Places offered where nothing was found."""
CANDIDATES = 8
"""Sentences of the evidence that may be quoted, at most."""


@dataclass(frozen=True)
class Candidate:
    """A sentence of the evidence, how well its words fit the question, and how a reply begins that quotes it. answer:
    where the place of the sentence is what is asked for, the name of that (a file, a function); "" elsewhere."""

    sentence: Passage
    fit: float
    opening: str
    answer: str = ""


@dataclass(frozen=True)
class Prepared:
    """A question ready for the model.

    ids: tokens to read after the document's state; they end with the opening's own, behind the `asked` first ones.
    opening: how the reply begins, chosen for the model ("" if it writes all of it). whole: the opening is the whole
    reply, nothing is to be generated. evidence: the passages the model is shown behind the document. quote: the
    sentence that the opening quotes; of the `candidates` the first, until the model has its say (`deciding`). nearest:
    the sentences that fit the question best, whether shown or not. rivals: where the quote was a close choice, the
    candidates behind it. insists: an answer is wanted also where the model would rather refuse; doubted: it would have.
    points: words of the evidence may answer; looked: the reader found some, and whether to refuse was its to say, not
    the model's; pointed: those that do answer, as the reader found them (`pointing`), or the name of where its quote
    is. looked_up: the question with what it leans on in earlier ones. foreign: hardly any of its words are in the
    document, so there is no answer unless the reader finds one. lines: those of code whose places are the answer, as
    their form says, each with its name.
    """

    document: str
    question: str
    ids: tuple[int, ...]
    asked: int = 0
    opening: str = ""
    whole: bool = False
    evidence: tuple[Passage, ...] = ()
    quote: Passage | None = None
    candidates: tuple[Candidate, ...] = ()
    nearest: tuple[Passage, ...] = ()
    rivals: tuple[Passage, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    insists: bool = False
    doubted: bool = False
    points: bool = False
    looked: bool = False
    pointed: str = ""
    looked_up: str = ""
    foreign: bool = False
    lines: tuple[tuple[Passage, str], ...] = ()


@dataclass(frozen=True)
class Generation:
    """What the model wrote after the opening, and what that took. `tokens` counts what was generated."""

    text: str
    tokens: int
    seconds_to_first_token: float
    seconds: float
    stopped: bool = False


@dataclass(frozen=True)
class Answer:
    """One answer and what it took. `raw` is the whole reply, `answer` the part of it that answers.

    tokens_reused: document tokens that came from saved state. tokens_read: tokens read now (the question, earlier
    turns, and document tokens if state was missing; `reason` says why). settings: how its tokens were chosen. model:
    the fingerprint of the model that answered. evidence: passages shown with the question. sentences: those of the
    answer, each with the numbers (from 1) of the citations that hold it. nearest: where nothing was found, the places
    that come closest to the question; where the quote was a close choice, those that may answer it as well. doubted:
    the model would rather have said that the document does not say. pointed: the answer is words of the document that
    the reader found (`pointing`).
    """

    answer: str
    raw: str
    citations: tuple[Citation, ...]
    found: bool
    tokens_reused: int
    tokens_read: int
    reason: str
    seconds_to_first_token: float
    seconds: float
    tokens_generated: int
    stopped: bool
    conversation: int
    document: str
    question: str
    settings: dict[str, float | int]
    model: str
    evidence: tuple[Passage, ...]
    nearest: tuple[Citation, ...]
    sentences: tuple[Claim, ...] = ()
    doubted: bool = False
    pointed: bool = False


def prepare(
    home: Home,
    document_id: str,
    question: str,
    earlier: Sequence[Exchange] = (),
    sampling: Sampling | None = None,
    evidence: int | None = None,
    read: int = 0,
    look_up: str | None = None,
    insists: bool = False,
    in_words: bool = True,
) -> Prepared:
    """What the model is to read for a question about a document, after `earlier` questions and answers about it.

    evidence: how many passages to show behind the document, 0 for none; by default what suits the model. read: how many
    of the earlier exchanges the state has read already. look_up: the words to find passages by, if the question has
    more than it asks. insists: the model may not refuse a question about the text as a whole; see `Prepared.doubted`.
    in_words: words of the document may be an answer as they are.
    """
    sampling = sampling or Sampling()
    count = home.aids.evidence if evidence is None else evidence
    if not count:
        ids = tuple(question_ids(home.engine, earlier, question, read=read))
        return Prepared(document_id, question, ids, len(ids), sampling=sampling)
    places = places_of(home, document_id)
    look_up = look_up or in_context(question, [exchange.question for exchange in earlier])
    sought = Asked.of(look_up)
    found = find(home, document_id, places, look_up, home.aids.excerpt)
    nearest = tuple(one.sentence for one in found[:NEAREST])
    best = chosen(found, count)
    passages = tuple(one.passage for one in best)
    asked = tuple(question_ids(home.engine, earlier, question, shown(places, passages), read=read))
    prepared = Prepared(
        document_id, question, asked, len(asked), evidence=passages, nearest=nearest, sampling=sampling,
        insists=insists and asks_of_the_whole(look_up), points=in_words and asks_for_words(question, look_up),
        looked_up=look_up,
        foreign=home.aids.choose_quotes and (is_foreign(look_up, found) or are_absent(places, sought)),
    )
    if not home.aids.choose_quotes:
        return prepared
    asks_in_words = in_words and not is_for_yes_or_no(question)
    if asks_in_words:
        prepared = replace(prepared, lines=lines_asked_for(places, sought))
    if not found:
        return prepared
    candidates = quotable(places, best, sought, asks_in_words)
    opening = candidates[0].opening
    return replace(
        prepared, ids=(*asked, *home.engine.tokenizer.encode(opening)), opening=opening,
        quote=candidates[0].sentence, candidates=candidates,
    )


def quotable(places: Places, found: Sequence[Found], asked: Asked, named: bool = True) -> tuple[Candidate, ...]:
    """The sentences of the evidence that fit best, best first, each wording once. named: a name may be the answer."""
    fitting = sorted((one for each in found for one in each.sentences), key=lambda scored: -scored[0])
    if asked.of_code:  # what a line of code does, its form says better than any likelihood
        fitting = [one for one in fitting if is_answer_in_code(asked, places.words(one[1]))] or fitting
    by_words: dict[str, Candidate] = {}
    for fit, sentence in fitting:
        quote, words = quoted(places, sentence, asked)
        answer = name_asked_for(places, sentence, asked) if named else ""
        by_words.setdefault(words, Candidate(quote, fit, prompts.opening(words), answer))
    return tuple(by_words.values())[:CANDIDATES]


def finish(
    home: Home, prepared: Prepared, read: reading.ReadResult, generation: Generation, conversation: int = 0
) -> Answer:
    """The answer a reply gives, with its quotes looked up in the document. `read`: how the state came to be."""
    raw = prepared.opening + generation.text
    places = places_of(home, prepared.document)

    def near(quote: str) -> list[Passage]:
        return near_words(home, prepared.document, places, quote)

    if prepared.quote is None:
        reply = parse_reply(raw)
        citations = cite(reply.quotes, places.text, places, near)
    else:  # its place is known, and what its words look like cannot confuse the reading of the reply
        pointed = Reply(prepared.pointed, (), True) if prepared.pointed else None
        reply = pointed or parse_reply(prompts.ANSWER_PREFIX + generation.text)
        known = [prepared.quote, *(line for line, _ in prepared.lines[1:LISTED])]
        beside = cite(reply.quotes, places.text, places, near)
        citations = [*(at(one, places) for one in known), *beside] if reply.found else []
    return Answer(
        answer=reply.answer,
        raw=raw,
        citations=tuple(citations),
        found=reply.found,
        tokens_reused=read.tokens_reused,
        tokens_read=read.tokens_read + (prepared.asked if prepared.whole else len(prepared.ids)),
        reason=read.reason,
        seconds_to_first_token=generation.seconds_to_first_token,
        seconds=generation.seconds,
        tokens_generated=generation.tokens,
        stopped=generation.stopped,
        conversation=conversation,
        document=prepared.document,
        question=prepared.question,
        settings=asdict(prepared.sampling),
        model=home.engine.fingerprint,
        evidence=prepared.evidence,
        sentences=tuple(claims(reply.answer, citations)) if reply.found else (),
        doubted=prepared.doubted,
        pointed=bool(prepared.pointed),
        nearest=tuple(at(sentence, places) for sentence in (prepared.rivals if reply.found else prepared.nearest)),
    )


@lru_cache(maxsize=4)
def places_of(home: Home, document_id: str) -> Places:
    """A document's text with its places: the same for every question, and texts never change under an id."""
    documents = home.documents
    return Places(documents.text(document_id), documents.get(document_id).segments, documents.outline(document_id))


def exchanges(home: Home, document_id: str, messages: Sequence[Message]) -> list[Exchange]:
    """The questions and replies of a conversation, with the evidence that was shown with each."""
    places = places_of(home, document_id)
    said = []
    for question, reply in zip(messages[::2], messages[1::2], strict=True):
        evidence = [Passage(**passage) for passage in reply.facts.get("evidence", ())]
        said.append(Exchange(question.text, reply.text, shown(places, evidence)))
    return said
