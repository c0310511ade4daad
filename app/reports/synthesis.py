"""Questions across documents: the answers about each are read as a text of their own, and quoted as one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from app import dialogue, prompts
from app.answers import Answer, Prepared
from app.citations import cite, parse_reply
from app.home import Home
from app.passages import Places
from app.reports.cells import digest, explain, failed, judge, sampling_in, unanswered, words
from app.reports.generate import generate
from app.reports.template import Question
from app.turns import OnWait
from model.sampling import Sampling
from model.state import ModelState
from storage.documents import Segment
from storage.reports import Cell

NOTHING = "No document answers what this is put together from."


@dataclass(frozen=True)
class Source:
    """An answer that a question across documents is put together from. document is None for one across documents."""

    document: str | None
    title: str
    question: str
    column: str
    answer: str

    @property
    def label(self) -> str:
        """What a quote of it gives as its place."""
        return f"{self.title}: {self.column}"


def blank(home: Home, question: Question, sources: Sequence[Source], sampling: Sampling) -> Cell:
    """The cell of a question across documents, not answered; another answer below makes it another cell."""
    engine = home.engine
    state_key = digest(engine.fingerprint, engine.tokenizer.identity, prompts.PROMPT_FORMAT, _text(sources)[0])
    return unanswered(None, question, state_key, sampling, {})


def answer(
    home: Home, question: Question, cell: Cell, sources: Sequence[Source], should_stop: Callable[[], bool],
    on_wait: OnWait | None = None,
) -> Iterator[Cell]:
    """Answer a cell across documents; yields it once, or nothing at `should_stop`. What fails is said in the cell.

    on_wait: see `Turns.reading`.
    """
    try:
        if not sources:
            yield replace(cell, state="not_found", answer={"answer": NOTHING})
            return
        text, segments = _text(sources)
        state = _read(home, text, should_stop, on_wait)
        ids = dialogue.question_ids(home.engine, (), words(question))
        prepared = Prepared("", words(question), tuple(ids), sampling=sampling_in(cell))
        for _, _, generation in generate(home, state, [prepared], should_stop, on_wait) if state else ():
            reply = parse_reply(generation.text)
            citations = tuple(cite(reply.quotes, text, Places(text, segments)))
            found = Answer(
                answer=reply.answer, raw=generation.text, citations=citations, found=reply.found, tokens_reused=0,
                tokens_read=state.tokens + len(ids) if state else 0, reason="answers of this report",
                seconds_to_first_token=generation.seconds_to_first_token, seconds=generation.seconds,
                tokens_generated=generation.tokens, stopped=False, conversation=0, document="",
                question=prepared.question, settings=asdict(prepared.sampling), model=home.engine.fingerprint,
                evidence=(), nearest=(),
            )
            yield judge(question, cell, found, asdict(found) | {"sources": [asdict(source) for source in sources]})
    except Exception as error:
        yield failed(cell, explain(error, f"asking {question.id!r} across documents"))


def _read(home: Home, text: str, should_stop: Callable[[], bool], on_wait: OnWait | None) -> ModelState | None:
    """The state after the answers, or None at `should_stop`; people asking go first."""
    chunks = home.engine.read_chunks(home.engine.empty(), dialogue.document_ids(home.engine, text))
    state = None
    while not should_stop():
        with home.turns.reading(on_wait):
            after = next(chunks, None)
        if after is None:
            return state
        state = after
    return None


def _text(sources: Sequence[Source]) -> tuple[str, list[Segment]]:
    """The sources as one text, each a paragraph and a segment."""
    entries = [prompts.report_entry(source.title, source.column, source.answer) + "\n\n" for source in sources]
    starts = [0]
    for entry in entries:
        starts.append(starts[-1] + len(entry))
    segments = [
        Segment(n, start, end, sources[n].label, None, 1) for n, (start, end) in enumerate(pairwise(starts))
    ]
    return "".join(entries), segments
