"""A question to several documents at once: choose them, ask, and see what each one's own memory answers."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from app import library, several
from app.errors import EXPLAINED, OncereadError
from app.home import Home
from app.preferences import Preferences
from app.several import Cited, Composed
from app.turns import Line
from ui.address import Address
from ui.ask import FAULT
from ui.markup import button, count, dotted, markdown, notice, safe
from ui.talk import place_words

MOST = 50
"""Documents of one question."""


@dataclass(eq=False)
class Asked:
    """A question to several documents. done: titles of those that answered; then what came of it, or an error."""

    question: str
    ids: tuple[str, ...]
    ahead: int = 0
    done: tuple[str, ...] = ()
    composed: Composed | None = None
    error: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)


class Several:
    """Each person's latest question to several documents; its answers are conversations of their documents, too."""

    def __init__(self, line: Line) -> None:
        """line: of everybody who asks."""
        self._line = line
        self._latest: dict[str, Asked] = {}
        self._changing = threading.Lock()

    def ask(self, home: Home, person: str, question: str, ids: list[str], chosen: Preferences) -> Asked:
        """Start asking. Raises OncereadError if nothing is asked or chosen, or another such question is under way."""
        question = question.strip()
        if not question:
            raise OncereadError("the question is empty: type what you want to know")
        if not 2 <= len(ids) <= MOST:
            raise OncereadError(f"choose two documents or more, {MOST} at most")
        for id in ids:
            home.documents.get(id)
        asked = Asked(question, tuple(ids))
        with self._changing:
            if (before := self._latest.get(person)) and not before.finished.is_set():
                raise OncereadError("your question before is still being answered: wait for it, or stop it first")
            self._latest[person] = asked
        threading.Thread(target=self._answer, args=(home, asked, chosen), name="several", daemon=True).start()
        return asked

    def latest(self, person: str) -> Asked | None:
        """A person's latest question."""
        return self._latest.get(person)

    def is_busy(self, person: str) -> bool:
        """Whether a person's question is being answered."""
        asked = self.latest(person)
        return asked is not None and not asked.finished.is_set()

    def end(self) -> None:
        """Stop every answer and wait a little for what has come to be saved."""
        for asked in self._latest.values():
            asked.stopped.set()
        for asked in self._latest.values():
            asked.finished.wait(10)

    def _answer(self, home: Home, asked: Asked, chosen: Preferences) -> None:
        def note(ahead: int) -> None:
            asked.ahead = ahead

        evidence = None if chosen.evidence < 0 else chosen.evidence
        try:
            with self._line.place(note, asked.stopped.is_set):
                for each in several.ask(
                    home, asked.ids, asked.question, chosen.sampling, evidence, asked.stopped.is_set
                ):
                    if isinstance(each, Composed):
                        asked.composed = each
                    else:
                        asked.done += (home.documents.get(each.document).title,)
        except EXPLAINED as error:
            asked.error = str(error)
        except Exception:  # a fault of ours: the person is told so, the log has the traceback
            logging.getLogger(__name__).exception("asking several documents failed")
            asked.error = FAULT
        finally:
            asked.finished.set()


def panel(home: Home, asked: Asked | None) -> str:
    """The form: a question, and the documents that are read."""
    read = [info.document for info in (library.info(home, each) for each in home.documents.list()) if info.complete]
    if len(read) < 2:
        return '<p class="or-quiet">Read two documents first; then one question can be asked of both.</p>'
    chosen = asked.ids if asked else ()
    boxes = "".join(
        f'<label class="or-check"><input type="checkbox" name="document:{safe(document.id)}"'
        f'{" checked" if document.id in chosen else ""}>{safe(document.title)}</label>'
        for document in read
    )
    form = (
        '<section class="or-panel"><form class="or-form" data-do="several" aria-label="Ask several documents">'
        f'<label>Question<textarea name="question" rows="2" required>{safe(asked.question if asked else "")}</textarea>'
        f"</label><fieldset><legend>Documents</legend>{boxes}</fieldset>"
        '<p class="or-actions"><button class="or-button or-primary">Ask them all</button></p></form></section>'
    )
    return f'<div class="or-reports"><h2 class="or-side-title">Ask several documents</h2>{form}</div>'


def result(asked: Asked | None) -> str:
    """The latest question, how far it is, or what came of it."""
    if asked is None:
        return ""
    question = f'<div class="or-question">{safe(asked.question)}</div>'
    if asked.error:
        return question + notice(asked.error)
    if asked.composed is None:
        words = f"Waiting: {count(asked.ahead, 'question')} before yours" if asked.ahead else dotted(
            [f"{len(asked.done)} of {count(len(asked.ids), 'document')} answered", *asked.done[-3:]]
        )  # fmt: skip
        stop = button("several-stop", "Stop")
        return f'{question}<p class="or-progress-facts" role="status">{safe(words)}</p><p class="or-actions">{stop}</p>'
    talks = {answer.document: Address(answer.document, answer.conversation).query for answer in asked.composed.answers}
    quotes = "".join(_quote(cited, talks) for cited in asked.composed.citations)
    listed = f'<ol class="or-quotes">{quotes}</ol>' if quotes else ""
    opened = "".join(
        button("view", title, query, style="or-link")
        for title, query in zip(asked.done, talks.values(), strict=False)
    )  # fmt: skip
    stopped = '<p class="or-quiet">Stopped before all of them were asked.</p>' if asked.stopped.is_set() else ""
    return (
        f'{question}<article class="or-answer"><div class="or-words">{markdown(asked.composed.answer)}</div>{listed}'
        f'{stopped}<p class="or-quiet">Each answer is a conversation of its document: {opened}</p></article>'
    )


def _quote(cited: Cited, talks: Mapping[str, str]) -> str:
    quote = f"<q>{safe(cited.citation.quote)}</q>"
    if not cited.citation.verified or cited.citation.place is None:
        missing = f'<span class="or-where">not found in {safe(cited.title)}</span>'
        return f'<li class="or-quote or-unverified">{quote}{missing}</li>'
    place = cited.citation.place
    where = place_words({"page": place.page, "line_start": place.line_start, "line_end": place.line_end})
    opened = button("view", f"{cited.title}, {where}", talks[cited.document], style="or-where")
    return f'<li class="or-quote">{quote}{opened}</li>'
