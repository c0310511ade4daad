"""A question on its way to an answer, in two pure steps around the model: `prepare`, and `finish`.

Between the two the model reads `Prepared.ids` after the document's state and writes on from `Prepared.opening`. Who
runs it is free to: `session.ask` streams one question, a report asks many from one state.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache

from app import dialogue, reading
from app.citations import Citation, cite, parse_reply
from app.home import Home
from app.passages import Places
from model.sampling import Sampling
from storage.conversations import Message


@dataclass(frozen=True)
class Prepared:
    """A question ready for the model.

    ids: tokens to read after the document's state; they end with the opening's own. opening: how the reply begins,
    chosen for the model ("" if it writes all of it). whole: the opening is the whole reply, nothing is to be generated.
    """

    document: str
    question: str
    ids: tuple[int, ...]
    opening: str = ""
    whole: bool = False
    sampling: Sampling = field(default_factory=Sampling)


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
    the fingerprint of the model that answered.
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


def prepare(
    home: Home, document_id: str, question: str, earlier: Sequence[Message] = (), sampling: Sampling | None = None
) -> Prepared:
    """What the model is to read for a question about a document, after `earlier` questions and answers about it."""
    ids = dialogue.question_ids(home.engine, earlier, question)
    return Prepared(document_id, question, tuple(ids), sampling=sampling or Sampling())


def finish(
    home: Home, prepared: Prepared, read: reading.ReadResult, generation: Generation, conversation: int = 0
) -> Answer:
    """The answer a reply gives, with its quotes looked up in the document. `read`: how the state came to be."""
    raw = prepared.opening + generation.text
    reply = parse_reply(raw)
    text, places = text_and_places(home, prepared.document)
    return Answer(
        answer=reply.answer,
        raw=raw,
        citations=tuple(cite(reply.quotes, text, places)),
        found=reply.found,
        tokens_reused=read.tokens_reused,
        tokens_read=read.tokens_read + len(prepared.ids),
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
    )


@lru_cache(maxsize=4)
def text_and_places(home: Home, document_id: str) -> tuple[str, Places]:
    """A document's text with its places: the same for every question, and texts never change under an id."""
    text = home.documents.text(document_id)
    return text, Places(text, home.documents.get(document_id).segments)
