"""Asking: fork the document's saved state, read the question, stream the answer, keep it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

from app import answers, reading
from app.answers import Answer, Generation
from app.errors import OncereadError
from app.home import Home
from model.sampling import Sampling
from model.tokenizer import TokenStream
from storage.conversations import Conversation, Message


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
        self.written = ""
        self.generated = 0
        self.first_token: float | None = None

    def run(self, sampling: Sampling, on_progress: reading.OnProgress | None) -> Iterator[str | Answer]:
        """Text as it comes, then the Answer."""
        started = time.perf_counter()
        engine = self.home.engine
        read, state = reading.read_state(self.home, self.document_id, on_progress, self.should_stop)
        earlier = self.talk.messages if self.talk else ()
        prepared = answers.prepare(self.home, self.document_id, self.question, earlier, sampling)
        saved = False
        try:
            if prepared.opening:
                yield prepared.opening
            if not prepared.whole:
                with self.home.turns.asking():
                    stream = TokenStream(engine.tokenizer)
                    for token in engine.generate(state, prepared.ids, sampling, self.should_stop):
                        self.first_token = self.first_token or time.perf_counter() - started
                        self.generated += 1
                        yield from self._show(stream.push(token))
                    yield from self._show(stream.finish())
            answer = self._answer(prepared, read, started, stopped=self.should_stop())
            saved = True
            self._save(answer)
            yield answer
        finally:
            if not saved:  # the caller went away, or something failed: keep the question and what there is
                self._save(self._answer(prepared, read, started, stopped=True))

    def _show(self, text: str) -> Iterator[str]:
        self.written += text
        if text:
            yield text

    def _answer(self, prepared: answers.Prepared, read: reading.ReadResult, started: float, stopped: bool) -> Answer:
        seconds = time.perf_counter() - started
        if self.talk is None and self.keep:
            self.talk = self.home.conversations.start(self.document_id, self.question[:80])
        first = seconds if self.first_token is None else self.first_token
        generation = Generation(self.written, self.generated, first, seconds, stopped)
        return answers.finish(self.home, prepared, read, generation, self.talk.id if self.talk else 0)

    def _save(self, answer: Answer) -> None:
        if self.keep:
            said = [Message.now("user", self.question, {}), Message.now("assistant", answer.raw, asdict(answer))]
            self.home.conversations.append(answer.conversation, said)
