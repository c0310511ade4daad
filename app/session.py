"""Asking: fork the document's saved state, read the question, stream the answer, keep it."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, replace

from app import answers, pointing, reading
from app.answers import Answer, Generation
from app.deciding import decide
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
        self.written = ""
        self.ids: list[int] = []
        self.first_token: float | None = None
        self.held = False
        """Whether what is written is not shown before it is settled."""

    def run(
        self, sampling: Sampling, evidence: int | None, on_progress: reading.OnProgress | None
    ) -> Iterator[str | Answer]:
        """Text as it comes, then the Answer."""
        started = time.perf_counter()
        messages = self.talk.messages if self.talk else ()
        kept = self.home.kept.find(self.talk.id, len(messages)) if self.talk else None
        if kept is None:
            read, state = reading.read_state(self.home, self.document_id, on_progress, self.should_stop)
        else:
            read, state = _nothing_read(self.home, self.document_id), kept.state
        prepared = answers.prepare(
            self.home, self.document_id, self.question, answers.exchanges(self.home, self.document_id, messages),
            sampling, evidence, len(messages) // 2 if kept else 0,
        )
        if kept:
            ids = (*kept.left, *prepared.ids)
            prepared = replace(prepared, ids=ids, asked=prepared.asked + len(kept.left))
        saved = False
        try:
            after = None
            if prepared.whole:
                yield prepared.opening
            else:
                with self.home.turns.asking():
                    begun, prepared, asked = decide(self.home, state, prepared)
                    self.held = prepared.unsettled is not None
                    if prepared.opening and not self.held:
                        yield prepared.opening
                    if not prepared.whole:
                        after = yield from self._generate(begun, prepared, asked, started)
                        prepared = self._settled(prepared)
                    if prepared.whole and prepared.pointed:
                        after = begun
                    if self.held:
                        yield prepared.opening + self.written
            answer = self._answer(prepared, read, started, stopped=self.should_stop())
            saved = True
            self._save(answer)
            if after is not None and self.talk is not None and not answer.stopped:
                left = (*prepared.ids, *(() if prepared.whole else self.ids))[after.tokens - state.tokens :]
                self.home.kept.keep(self.talk.id, Kept(after, len(messages) + 2, left))
            yield answer
        finally:
            if not saved:  # the caller went away, or something failed: keep the question and what there is
                self._save(self._answer(prepared, read, started, stopped=True))

    def _generate(
        self, state: ModelState, prepared: answers.Prepared, read: int, started: float
    ) -> Generator[str, None, ModelState]:
        """Text as it comes; returns the state behind it. read: how many of the prepared ids the state has read."""
        stream = TokenStream(self.home.engine.tokenizer)
        tokens = self.home.engine.generate(state, prepared.ids[read:], prepared.sampling, self.should_stop)
        while True:
            try:
                token = next(tokens)
            except StopIteration as end:
                yield from self._show(stream.finish())
                return end.value
            if not self.held:
                self.first_token = self.first_token or time.perf_counter() - started
            self.ids.append(token)
            yield from self._show(stream.push(token))

    def _show(self, text: str) -> Iterator[str]:
        self.written += text
        if text and not self.held:
            yield text

    def _settled(self, prepared: answers.Prepared) -> answers.Prepared:
        """What is prepared once its answer is written, unless that was stopped; what other words replace is gone."""
        if self.should_stop():
            return prepared
        settled = pointing.settled(self.home, prepared, self.written, len(self.ids))
        if settled.whole:
            self.written = ""
        return settled

    def _answer(self, prepared: answers.Prepared, read: reading.ReadResult, started: float, stopped: bool) -> Answer:
        seconds = time.perf_counter() - started
        if self.talk is None and self.keep:
            self.talk = self.home.conversations.start(self.document_id, self.question[:80])
        first = seconds if self.first_token is None else self.first_token
        generation = Generation(self.written, len(self.ids), first, seconds, stopped)
        return answers.finish(self.home, prepared, read, generation, self.talk.id if self.talk else 0)

    def _save(self, answer: Answer) -> None:
        if self.keep:
            said = [Message.now("user", self.question, {}), Message.now("assistant", answer.raw, asdict(answer))]
            self.home.conversations.append(answer.conversation, said)


def _nothing_read(home: Home, document_id: str) -> reading.ReadResult:
    """What reading did where a conversation's state was in memory: nothing."""
    document = home.documents.get(document_id)
    tokens = document.tokens or 0
    return reading.ReadResult(
        document_id, document.title, tokens, 0, tokens, KEPT, 0.0, home.engine.state_bytes(tokens), document.skipped
    )
