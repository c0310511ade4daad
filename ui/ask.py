"""Questions under way: each is answered in a thread of its own, whether or not a browser still looks at it."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from app import reading, session
from app.answers import Answer
from app.errors import EXPLAINED, OncereadError
from app.home import Home
from app.preferences import Preferences
from app.turns import Line
from ui.address import Address

MOST, MOST_EACH = 100, 5
"""Questions under way, of everybody and of one person."""

SECONDS_BETWEEN = 0.08
"""Text is sent to a browser at most this often."""

FAULT = "Something went wrong here; the terminal that runs Onceread says what. Your question is kept."


@dataclass(eq=False)
class Asked:
    """A question on its way. ahead: people before it in the line; raw: the reply so far; then an answer or an error."""

    person: str
    address: Address
    question: str
    ahead: int = 0
    reading: str = ""
    raw: str = ""
    answer: Answer | None = None
    error: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> Iterator[None]:
        """Again and again while there is something new, and once at the end."""
        seen: object = None
        while not self.finished.wait(SECONDS_BETWEEN):
            now = (self.ahead, self.reading, len(self.raw))
            if now != seen:
                seen = now
                yield
        yield


class Asking:
    """The questions of all people, in one line for the model."""

    def __init__(self) -> None:
        self.line = Line()
        self._changing = threading.Lock()
        self._under_way: list[Asked] = []

    def ask(self, home: Home, person: str, address: Address, question: str, chosen: Preferences) -> Asked:
        """Start answering. Raises OncereadError if it is empty, the conversation's last one is under way still, or too
        many are; NotFound."""
        if not question.strip():
            raise OncereadError("the question is empty: type what you want to know")
        home.documents.get(address.document)
        asked = Asked(person, address, question.strip())
        with self._changing:
            if any((other.person, other.address) == (person, address) for other in self._under_way):
                raise OncereadError("one answer at a time here: wait for it, or stop it first")
            own = sum(other.person == person for other in self._under_way)
            if len(self._under_way) >= MOST or own >= MOST_EACH:
                raise OncereadError("too many questions are waiting already: try again in a moment")
            self._under_way.append(asked)
        threading.Thread(target=self._answer, args=(home, asked, chosen), name="asking", daemon=True).start()
        return asked

    def under_way(self, person: str, address: Address) -> Asked | None:
        """The question a person has under way in this conversation (or in a new one about this document)."""
        with self._changing:
            return next((a for a in self._under_way if (a.person, a.address) == (person, address)), None)

    def stop(self, person: str, address: Address) -> None:
        """End the answer under way; what has come so far is kept."""
        if asked := self.under_way(person, address):
            asked.stopped.set()

    def end(self) -> None:
        """Stop every answer and wait a little for what has come to be saved."""
        with self._changing:
            left = list(self._under_way)
        for asked in left:
            asked.stopped.set()
        until = time.monotonic() + 10
        for asked in left:
            asked.finished.wait(max(0.0, until - time.monotonic()))

    def _note_resume(self, home: Home, answer: Answer) -> None:
        """Keep how long the document took to resume, if it did resume and nothing was read beside it."""
        if any(job.state == "reading" for job in home.jobs.list()):
            return
        if answer.tokens_generated and answer.tokens_reused == home.documents.get(answer.document).tokens:
            home.documents.set_resume_seconds(answer.document, answer.seconds_to_first_token)

    def _answer(self, home: Home, asked: Asked, chosen: Preferences) -> None:
        def note(ahead: int) -> None:
            asked.ahead = ahead

        def read_again(progress: reading.Progress) -> None:
            asked.reading = f"{progress.done:,} of {progress.total:,} tokens read again" if progress.total else ""

        try:
            with self.line.place(note, asked.stopped.is_set):
                pieces = session.ask(
                    home, asked.address.document, asked.question, asked.address.conversation,
                    chosen.sampling, asked.stopped.is_set, read_again,
                    evidence=None if chosen.evidence < 0 else chosen.evidence,
                )  # fmt: skip
                for piece in pieces:
                    if isinstance(piece, Answer):
                        self._note_resume(home, piece)
                        asked.answer = piece
                    else:
                        asked.raw += piece
        except EXPLAINED as error:
            asked.error = str(error)
        except Exception:  # a fault of ours: the person gets the question back, the log the traceback
            logging.getLogger(__name__).exception("answering failed")
            asked.error = FAULT
        finally:
            with self._changing, suppress(ValueError):
                self._under_way.remove(asked)
            asked.finished.set()
            if not self._under_way:
                home.rest()
