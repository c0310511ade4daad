"""Asking: fork the document's saved state, read the question, stream the answer, locate its quotes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

from app import dialogue, reading
from app.citations import Citation, cite, parse_reply
from app.errors import OncereadError
from app.home import Home
from app.passages import Places
from model.sampling import Sampling
from model.tokenizer import TokenStream
from storage.conversations import Conversation, Message


@dataclass(frozen=True)
class Answer:
    """One answer and what it took. `raw` is the model's reply, `answer` the part of it that answers.

    tokens_reused: document tokens that came from saved state. tokens_read: tokens read now (the question, earlier
    turns, and document tokens if state was missing; `reason` says why).
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


def ask(
    home: Home,
    document_id: str,
    question: str,
    conversation: int | None = None,
    sampling: Sampling | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_progress: reading.OnProgress | None = None,
    keep: bool = True,
) -> Iterator[str | Answer]:
    """Answer a question: yields text as it comes, and an `Answer` at the end.

    A document that is not in saved state is read first. The question and what was answered are saved in the
    conversation (a new one if none is given), also when the answer is stopped or the caller goes away midway; with
    `keep` false (a report's cell) nothing is saved and the answer's conversation is 0.
    Raises OncereadError for an empty question, NotFound, ModelError and StorageError.
    """
    question = question.strip()
    if not question:
        raise OncereadError("the question is empty: type what you want to know")
    talk = None if conversation is None else home.conversations.get(conversation)
    if talk is not None and talk.document_id != document_id:
        raise OncereadError(f"conversation {talk.id} is about another document: leave it out to start a new one")
    asking = _Asking(home, document_id, question, talk, should_stop or (lambda: False), keep)
    return asking.run(sampling or Sampling(), on_progress)


class _Asking:
    """One question on its way to an answer."""

    def __init__(
        self, home: Home, document_id: str, question: str, talk: Conversation | None,
        should_stop: Callable[[], bool], keep: bool,
    ) -> None:
        self.home, self.document_id, self.question, self.talk = home, document_id, question, talk
        self.should_stop = should_stop
        self.keep = keep
        self.raw = ""
        self.generated = 0
        self.first_token: float | None = None

    def run(self, sampling: Sampling, on_progress: reading.OnProgress | None) -> Iterator[str | Answer]:
        """Text as it comes, then the Answer."""
        started = time.perf_counter()
        engine = self.home.engine
        read, state = reading.read_state(self.home, self.document_id, on_progress, self.should_stop)
        ids = dialogue.question_ids(engine, self.talk.messages if self.talk else (), self.question)
        saved = False
        try:
            with self.home.turns.asking():
                stream = TokenStream(engine.tokenizer)
                for token in engine.generate(state, ids, sampling, self.should_stop):
                    self.first_token = self.first_token or time.perf_counter() - started
                    self.generated += 1
                    yield from self._show(stream.push(token))
                yield from self._show(stream.finish())
            seconds = time.perf_counter() - started
            answer = self._answer(read, len(ids), seconds, stopped=self.should_stop())
            saved = True
            self._save(answer)
            yield answer
        finally:
            if not saved:  # the caller went away, or something failed: keep the question and what there is
                self._save(self._answer(read, len(ids), time.perf_counter() - started, stopped=True))

    def _show(self, text: str) -> Iterator[str]:
        self.raw += text
        if text:
            yield text

    def _answer(self, read: reading.ReadResult, question_tokens: int, seconds: float, stopped: bool) -> Answer:
        reply = parse_reply(self.raw)
        text, places = _text_and_places(self.home, self.document_id)
        if self.talk is None and self.keep:
            self.talk = self.home.conversations.start(self.document_id, self.question[:80])
        return Answer(
            answer=reply.answer,
            raw=self.raw,
            citations=tuple(cite(reply.quotes, text, places)),
            found=reply.found,
            tokens_reused=read.tokens_reused,
            tokens_read=read.tokens_read + question_tokens,
            reason=read.reason,
            seconds_to_first_token=seconds if self.first_token is None else self.first_token,
            seconds=seconds,
            tokens_generated=self.generated,
            stopped=stopped,
            conversation=self.talk.id if self.talk else 0,
            document=self.document_id,
        )

    def _save(self, answer: Answer) -> None:
        if not self.keep:
            return
        facts = asdict(answer) | {"model": self.home.engine.fingerprint}
        self.home.conversations.append(
            answer.conversation, [Message.now("user", self.question, {}), Message.now("assistant", answer.raw, facts)]
        )


@lru_cache(maxsize=4)
def _text_and_places(home: Home, document_id: str) -> tuple[str, Places]:
    """A document's text with its places: the same for every question, and texts never change under an id."""
    text = home.documents.text(document_id)
    return text, Places(text, home.documents.get(document_id).segments)
