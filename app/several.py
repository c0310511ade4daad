"""A question about several documents: each one's own state answers; the answers are put together with all quotes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app import reading, session
from app.citations import Citation
from app.home import Home
from model.sampling import Sampling


@dataclass(frozen=True)
class Cited:
    """A citation and the document it stands in."""

    document: str
    title: str
    citation: Citation


@dataclass(frozen=True)
class Composed:
    """One answer out of those about each document, in the order they were named.

    answer: a line for each document that answers, with the numbers (from 1) of its citations. found: any of them does.
    """

    answer: str
    found: bool
    citations: tuple[Cited, ...]
    answers: tuple[session.Answer, ...]


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

    A document named twice is asked once. Raises what `session.ask` raises.
    """
    answers = []
    for id in dict.fromkeys(document_ids):
        *_, answer = session.ask(home, id, question, None, sampling, should_stop, on_progress, evidence=evidence)
        assert isinstance(answer, session.Answer)  # ask's last item
        answers.append(answer)
        yield answer
        if answer.stopped:
            break
    yield compose(home, answers)


def compose(home: Home, answers: Sequence[session.Answer]) -> Composed:
    """Put answers about different documents together; those that found nothing are said to, behind the others."""
    lines, silent, cited = [], [], list[Cited]()
    for answer in answers:
        title = home.documents.get(answer.document).title
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
