"""Asking: fork the document's saved state, read the question, stream the answer, keep it.

The reader looks first. Where it settles a question, neither is the state taken up nor are the model's weights loaded.
"""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, replace

from app import answers, reading
from app.answers import Answer, Generation
from app.deciding import decide, look
from app.errors import OncereadError
from app.home import Home
from app.kept import Kept
from model.sampling import Sampling
from model.state import ModelState
from model.tokenizer import TokenStream
from storage.conversations import Conversation, Message

KEPT = "the conversation goes on from its state in memory"


def ask(
    home: Home,
    document_id: str,
    question: str,
    conversation: int | None = None,
    sampling: Sampling | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_progress: reading.OnProgress | None = None,
    keep: bool = True,
    evidence: int | None = None,
) -> Iterator[str | Answer]:
    """Answer a question: yields text as it comes, and an `Answer` at the end. `evidence`: see `answers.prepare`.

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
    return asking.run(sampling or Sampling(), evidence, on_progress)


class _Asking:
    """One question on its way to an answer."""

    def __init__(
        self, home: Home, document_id: str, question: str, talk: Conversation | None,
        should_stop: Callable[[], bool], keep: bool,
    ) -> None:
        self.home, self.document_id, self.question, self.talk = home, document_id, question, talk
        self.should_stop = should_stop
        self.keep = keep
        self.read: reading.ReadResult
        self.prepared: answers.Prepared
        self.state: ModelState | None = None
        """What is gone on from, the document's state or the conversation's; None until something has to be read."""
        self.written = ""
        self.ids: list[int] = []
        self.first_token: float | None = None

    def run(
        self, sampling: Sampling, evidence: int | None, on_progress: reading.OnProgress | None
    ) -> Iterator[str | Answer]:
        """Text as it comes, then the Answer."""
        started = time.perf_counter()
        self._prepare(sampling, evidence, on_progress)
        self.prepared = look(self.home, self.prepared)
        after = self.state
        if not self.prepared.whole:
            after = self._take_up(on_progress)
        saved = False
        try:
            if after is None or self.prepared.whole:
                yield self.prepared.opening
            else:
                with self.home.turns.asking():
                    after = yield from self._write(after, started)
            answer = self._answer(started, stopped=self.should_stop())
            saved = True
            self._save(answer)
            self._go_on_from(after, answer)
            yield answer
        finally:
            if not saved:  # the caller went away, or something failed: keep the question and what there is
                self._save(self._answer(started, stopped=True))

    def _prepare(self, sampling: Sampling, evidence: int | None, on_progress: reading.OnProgress | None) -> None:
        """Prepare the question behind what is kept of the conversation, or behind the document; one that is not in
        saved state is read first."""
        messages = self.talk.messages if self.talk else ()
        kept = self.home.kept.find(self.talk.id, len(messages)) if self.talk else None
        read = _nothing_read(self.home, self.document_id) if kept else reading.saved(self.home, self.document_id)
        if read is None:
            self._take_up(on_progress)
        else:
            self.read, self.state = read, kept.state if kept else None
        earlier, behind = answers.exchanges(self.home, self.document_id, messages), len(messages) // 2 if kept else 0
        prepared = answers.prepare(self.home, self.document_id, self.question, earlier, sampling, evidence, behind)
        left = kept.left if kept else ()
        self.prepared = replace(prepared, ids=(*left, *prepared.ids), asked=prepared.asked + len(left))

    def _take_up(self, on_progress: reading.OnProgress | None) -> ModelState:
        """The state to go on from, the document's if there is none yet; and the model's weights, so that what is wrong
        with either is told before anything of an answer is shown. Raises what `reading.read_state` raises."""
        _ = self.home.engine.model
        if self.state is None:
            self.read, self.state = reading.read_state(self.home, self.document_id, on_progress, self.should_stop)
        return self.state

    def _write(self, state: ModelState, started: float) -> Generator[str, None, ModelState]:
        """Text as it comes; returns the state that the conversation goes on from."""
        begun, self.prepared, asked = decide(self.home, state, self.prepared)
        if self.prepared.opening:
            yield self.prepared.opening
        if self.prepared.whole:
            return begun
        return (yield from self._generate(begun, asked, started))

    def _generate(self, state: ModelState, read: int, started: float) -> Generator[str, None, ModelState]:
        """Text as it comes; returns the state behind it. read: how many of the prepared ids the state has read."""
        stream = TokenStream(self.home.engine.tokenizer)
        tokens = self.home.engine.generate(state, self.prepared.ids[read:], self.prepared.sampling, self.should_stop)
        while True:
            try:
                token = next(tokens)
            except StopIteration as end:
                yield from self._show(stream.finish())
                return end.value
            self.first_token = self.first_token or time.perf_counter() - started
            self.ids.append(token)
            yield from self._show(stream.push(token))

    def _show(self, text: str) -> Iterator[str]:
        self.written += text
        if text:
            yield text

    def _answer(self, started: float, stopped: bool) -> Answer:
        seconds = time.perf_counter() - started
        if self.talk is None and self.keep:
            self.talk = self.home.conversations.start(self.document_id, self.question[:80])
        first = seconds if self.first_token is None else self.first_token
        generation = Generation(self.written, len(self.ids), first, seconds, stopped)
        return answers.finish(self.home, self.prepared, self.read, generation, self.talk.id if self.talk else 0)

    def _go_on_from(self, after: ModelState | None, answer: Answer) -> None:
        """Keep where the conversation goes on from; nothing behind a refusal, and where it was stopped. after: None for
        the document's state, which nobody has taken up."""
        refused = self.prepared.whole and not self.prepared.pointed
        if self.talk is None or refused or answer.stopped:
            return
        read = 0 if after is None or self.state is None else after.tokens - self.state.tokens
        left = (*self.prepared.ids, *self.ids)[read:]
        self.home.kept.keep(self.talk.id, Kept(after, len(self.talk.messages) + 2, left))

    def _save(self, answer: Answer) -> None:
        if self.keep:
            said = [Message.now("user", self.question, {}), Message.now("assistant", answer.raw, asdict(answer))]
            self.home.conversations.append(answer.conversation, said)


def _nothing_read(home: Home, document_id: str) -> reading.ReadResult:
    """What reading did where a conversation's state was in memory: nothing."""
    document = home.documents.get(document_id)
    return reading.nothing_read(home, document, document.tokens or 0, KEPT)
