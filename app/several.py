"""A question about several documents: each one's own state answers; the answers are put together with all quotes.

What was put together is kept (`app.together` shows it again); each document's answer is a conversation of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, pairwise

from app import dialogue, prompts, reading, session
from app.citations import Citation, cite, parse_reply
from app.home import Home
from app.naming import names
from app.passages import Places
from model.sampling import Sampling
from storage.documents import Segment
from storage.errors import NotFound


@dataclass(frozen=True)
class Cited:
    """A citation and the document it stands in. title: what that is called beside others of the same title."""

    document: str
    title: str
    citation: Citation


@dataclass(frozen=True)
class Composed:
    """One answer out of those about each document, in the order they were named.

    answer: what the model wrote from the documents' answers, or else a line for each document that answers; with the
    numbers (from 1) of its citations. found: any of them does. written: the model wrote it. number: it is kept under
    that, 0 if it is not.
    """

    answer: str
    found: bool
    citations: tuple[Cited, ...]
    answers: tuple[session.Answer, ...]
    written: bool = False
    number: int = 0


def ask(
    home: Home,
    document_ids: Sequence[str],
    question: str,
    sampling: Sampling | None = None,
    evidence: int | None = None,
    should_stop: reading.ShouldStop | None = None,
    on_progress: reading.OnProgress | None = None,
) -> Iterator[session.Answer | Composed]:
    """Ask each document in turn: yields each answer (saved as a conversation of its own), at last the composed one.

    That is kept, unless one of the documents was removed meanwhile. A document named twice is asked once. A model that
    writes its own quotes writes the composed answer too, if two documents or more answer. Raises what `session.ask`
    raises.
    """
    answers = []
    for id in dict.fromkeys(document_ids):
        *_, answer = session.ask(home, id, question, None, sampling, should_stop, on_progress, evidence=evidence)
        assert isinstance(answer, session.Answer)  # ask's last item
        answers.append(answer)
        yield answer
        if answer.stopped:
            break
    if not answers:
        return
    composed = compose(home, answers)
    stopped = any(answer.stopped for answer in answers)
    if not home.aids.choose_quotes and not stopped and sum(answer.found for answer in answers) > 1:
        composed = write(home, question, composed, sampling or Sampling(), should_stop or (lambda: False))
    with suppress(NotFound):  # it quotes what somebody wanted gone
        facts = _facts(home, composed, stopped)
        number = home.composed.add(question.strip(), [answer.document for answer in answers], facts)
        composed = replace(composed, number=number)
    yield composed


def _facts(home: Home, composed: Composed, stopped: bool) -> dict[str, object]:
    """What is kept of a composed answer, as plain values."""
    called = names(home)
    return {
        "answer": composed.answer, "found": composed.found, "written": composed.written, "stopped": stopped,
        "citations": [asdict(cited) for cited in composed.citations],
        "documents": [
            {"document": a.document, "title": called.get(a.document, ""), "found": a.found,
             "conversation": a.conversation}
            for a in composed.answers
        ],
    }


def write(
    home: Home, question: str, listed: Composed, sampling: Sampling, should_stop: reading.ShouldStop
) -> Composed:
    """The answer that the model writes to the question from what the documents answered, quotes and all; the listed
    one if it finds none in that, or quotes nothing of it, or is stopped."""
    entries = {  # a quote that stands in no document is no ground for an answer
        str(n): prompts.report_entry(cited.title, str(n), cited.citation.quote) + "\n\n"
        for n, cited in enumerate(listed.citations, 1) if cited.citation.verified
    }
    text = "".join([*entries.values(), listed.answer])
    starts = [0, *accumulate(map(len, entries.values())), len(text)]
    numbers = [*entries, ""]  # the listed answer at the end is nobody's words
    places = Places(text, [Segment(n, a, b, numbers[n], None, 1) for n, (a, b) in enumerate(pairwise(starts))])
    engine = home.engine
    with home.turns.asking():
        state = engine.read(engine.empty(), dialogue.document_ids(engine, text))
        ids = engine.generate(state, dialogue.question_ids(engine, (), question), sampling, should_stop)
        reply = parse_reply(engine.tokenizer.decode(list(ids)))
    quoted = [found.place.path for found in cite(reply.quotes, text, places) if found.place is not None]
    marks = "".join(f"[{number}]" for number in dict.fromkeys(quoted) if number)
    if should_stop() or not reply.found or not marks:
        return listed
    return Composed(f"{reply.answer} {marks}", True, listed.citations, listed.answers, written=True)


def compose(home: Home, answers: Sequence[session.Answer]) -> Composed:
    """Put answers about different documents together; those that found nothing are said to, behind the others."""
    lines, silent, cited = [], [], list[Cited]()
    called = names(home)
    for answer in answers:
        title = called.get(answer.document) or home.documents.get(answer.document).title
        if not answer.found:
            silent.append(title)
            continue
        first = len(cited)
        cited += [Cited(answer.document, title, citation) for citation in answer.citations]
        marks = "".join(f"[{n}]" for n in range(first + 1, len(cited) + 1) if cited[n - 1].citation.verified)
        lines.append(f"{title}: {answer.answer} {marks}".rstrip())
    if silent:
        lines.append(f"Not answered by: {', '.join(silent)}")
    return Composed("\n".join(lines), any(a.found for a in answers), tuple(cited), tuple(answers))
