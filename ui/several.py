"""A question to several documents at once: choose them, ask, and see what each one's own memory answers."""

import logging
import threading
from dataclasses import dataclass, field

from app import library, several, together
from app.errors import EXPLAINED, OncereadError
from app.home import Home
from app.naming import names
from app.preferences import Preferences
from app.several import Cited, Composed
from app.together import Together
from app.turns import Line
from app.words import ago, count
from ui.address import Address
from ui.ask import FAULT
from ui.markup import button, dotted, link, markdown, notice, safe
from ui.talk import place_words

MOST = 50
"""Documents of one question."""
MOST_LISTED = 30
"""Earlier answers shown."""


@dataclass(eq=False)
class Asked:
    """A question to several documents under way. done: titles of those that answered. What comes of it is kept in the
    library; only an error, or an answer that could not be kept, stays here."""

    question: str
    ids: tuple[str, ...]
    ahead: int = 0
    done: tuple[str, ...] = ()
    error: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)


REMOVED = "One of the documents was removed meanwhile, so the answer was not kept."


class Several:
    """Each person's latest question to several documents."""

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
                    if not isinstance(each, Composed):
                        asked.done += (names(home).get(each.document, "a document that was removed"),)
                    elif not each.number:
                        asked.error = REMOVED
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
    called = names(home)
    boxes = "".join(
        f'<label class="or-check"><input type="checkbox" name="document:{safe(document.id)}"'
        f'{" checked" if document.id in chosen else ""}>{safe(called.get(document.id, document.title))}</label>'
        for document in read
    )
    form = (
        '<section class="or-panel"><form class="or-form" data-do="several" aria-label="Ask several documents">'
        f'<label>Question<textarea name="question" rows="2" required>{safe(asked.question if asked else "")}</textarea>'
        f"</label><fieldset><legend>Documents</legend>{boxes}</fieldset>"
        '<p class="or-actions"><button class="or-button or-primary">Ask them all</button></p></form></section>'
    )
    return f'<div class="or-reports"><h2 class="or-side-title">Ask several documents</h2>{form}</div>'


def result(home: Home, asked: Asked | None) -> str:
    """How far the question under way is, or else the latest answer and those before it."""
    if asked is not None and not asked.finished.is_set():
        return _under_way(asked)
    failed = _question(asked.question) + notice(asked.error) if asked and asked.error else ""
    kept = together.listed(home, MOST_LISTED)
    if failed or not kept:
        return failed + _earlier(kept)
    return _shown(kept[0]) + _earlier(kept[1:])


def _under_way(asked: Asked) -> str:
    words = f"Waiting: {count(asked.ahead, 'question')} before yours" if asked.ahead else dotted(
        [f"{len(asked.done)} of {count(len(asked.ids), 'document')} answered", *asked.done[-3:]]
    )  # fmt: skip
    stop = button("several-stop", "Stop")
    progress = f'<p class="or-progress-facts" role="status">{safe(words)}</p><p class="or-actions">{stop}</p>'
    return _question(asked.question) + progress


def _earlier(kept: list[Together]) -> str:
    """Earlier answers, each behind its question."""
    if not kept:
        return ""
    heads = (f"<summary>{safe(one.question)} <small>{safe(ago(one.created_at))}</small></summary>" for one in kept)
    folds = "".join(f"<details>{head}{_shown(one)}</details>" for head, one in zip(heads, kept, strict=True))
    return f'<section class="or-folds" aria-label="Earlier"><h3 class="or-side-title">Earlier</h3>{folds}</section>'


def _shown(one: Together) -> str:
    """A question and what came of it."""
    talks = {talk.document: Address(talk.document, talk.conversation).query for talk in one.talks}
    quotes = "".join(_quote(cited, talks[cited.document]) for cited in one.citations)
    listed = f'<ol class="or-quotes">{quotes}</ol>' if quotes else ""
    opened = "".join(button("view", talk.title, talks[talk.document], style="or-link") for talk in one.talks)
    stopped = '<p class="or-quiet">Stopped before all of them were asked.</p>' if one.stopped else ""
    each = f'<p class="or-quiet">Each answer is a conversation of its document: {opened}</p>' if opened else ""
    remove = {"title": "Remove this answer?", "words": "Each document’s own answer stays in its conversations.",
              "confirm": "Remove", "danger": True}  # fmt: skip
    export = "".join(
        link(f"/download/several/{one.number}.{form}", label, style="or-link")
        for form, label in (("md", "Export"), ("json", "as JSON"))
    )
    words = f'<div class="or-words">{markdown(one.answer)}</div>'
    return (
        f'{_question(one.question)}<article class="or-answer">{words}{listed}{stopped}{each}</article>'
        f'<p class="or-small" role="group" aria-label="This answer">{export}'
        f'{button("several-remove", "Remove", one.number, style="or-link", ask=remove)}</p>'
    )


def _question(words: str) -> str:
    return f'<div class="or-question">{safe(words)}</div>'


def _quote(cited: Cited, talk: str) -> str:
    quote = f"<q>{safe(cited.citation.quote)}</q>"
    if not cited.citation.verified or cited.citation.place is None:
        missing = f'<span class="or-where">not found in {safe(cited.title)}</span>'
        return f'<li class="or-quote or-unverified">{quote}{missing}</li>'
    place = cited.citation.place
    where = place_words({"page": place.page, "line_start": place.line_start, "line_end": place.line_end})
    opened = button("view", f"{cited.title}, {where}", talk, style="or-where")
    return f'<li class="or-quote">{quote}{opened}</li>'
