"""Cells of documents: what an answer depends on, asking a document's questions together, and judging what came back."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from app import answers, prompts, reading
from app.citations import Citation
from app.errors import EXPLAINED, ReadingStopped
from app.home import Home
from app.passages import Place
from app.reports import kinds
from app.reports.generate import ROWS, generate
from app.reports.states import WarmStates
from app.reports.template import Question
from app.turns import OnWait
from model.sampling import Sampling
from model.state import ModelState
from storage.documents import Document
from storage.reports import Cell, CellState

QUOTE_TOKENS, TOKENS_A_WORD = 96, 2
"""Room for a quote, and for each word of an answer of limited length."""

IN_WORDS = ("text", "number", "date")
"""Kinds of answer that a document has as they are."""

HOW = "of the whole/1"
"""Names the way cells are asked: with another, those answered before are other cells, and are asked again."""

Wanted = tuple[Question, Cell]
"""A question and its cell, still to be answered."""


def blank(home: Home, document: Document, question: Question, sampling: Sampling) -> Cell:
    """The cell of a question about a document, not answered: its key says all that its answer depends on."""
    engine = home.engine
    state_key = digest(engine.fingerprint, engine.tokenizer.identity, prompts.PROMPT_FORMAT, document.text_hash)
    return unanswered(document.id, question, state_key, sampling, asdict(home.aids))


def unanswered(
    document_id: str | None, question: Question, state_key: str, sampling: Sampling, aids: Mapping[str, Any]
) -> Cell:
    """A cell without an answer over any text the model reads, named by `state_key`. aids: what else it is shown."""
    wanted = [HOW, words(question), question.kind, *question.options, "quote" if question.quote else ""]
    settings: dict[str, Any] = {**asdict(sampling_of(question, sampling)), **aids}
    cell_hash = digest(*wanted)
    key = digest(state_key, cell_hash, json.dumps(settings, sort_keys=True))
    return Cell(key, document_id, question.id, state_key, cell_hash, settings, "missing")


def sampling_in(cell: Cell) -> Sampling:
    """The sampling among a cell's settings."""
    return Sampling(**{name: cell.settings[name] for name in Sampling.__dataclass_fields__})


def words(question: Question) -> str:
    """The question as it is put to the model."""
    return prompts.report_question(question.ask, question.kind, question.options, question.length)


def sampling_of(question: Question, sampling: Sampling) -> Sampling:
    """The job's sampling, with room for as many words as the question allows."""
    if question.length is None:
        return sampling
    return replace(sampling, max_tokens=min(sampling.max_tokens, QUOTE_TOKENS + TOKENS_A_WORD * question.length))


def answer(
    home: Home,
    document_id: str,
    wanted: Sequence[Wanted],
    should_stop: Callable[[], bool],
    on_read: reading.OnProgress | None = None,
    states: WarmStates | None = None,
    on_wait: OnWait | None = None,
) -> Iterator[Cell]:
    """Answer a document's cells from one state, read or restored once; yields each as soon as it is answered.

    states: where to look for the state first, and to leave it. on_wait: see `Turns.reading`.

    What fails is a cell that says why, and the others go on. Ends early at `should_stop`; raises nothing that is meant
    for people.
    """
    try:
        read, state = (states or WarmStates()).get(home, document_id, should_stop, on_read)
    except ReadingStopped:
        return
    except Exception as error:
        reason = explain(error, f"reading {document_id}")
        yield from (failed(cell, reason) for _, cell in wanted)
        return
    for start in range(0, len(wanted), ROWS):
        yield from _together(home, state, read, wanted[start : start + ROWS], should_stop, on_wait)


def _together(
    home: Home, state: ModelState, read: reading.ReadResult, wanted: Sequence[Wanted], should_stop: Callable[[], bool],
    on_wait: OnWait | None,
) -> Iterator[Cell]:
    """Answer cells side by side. If that fails, the unanswered half by half, until what fails is one cell."""
    left = dict(enumerate(wanted))
    try:
        prepared = [
            answers.prepare(
                home, read.document, words(q), sampling=sampling_in(cell), look_up=q.ask, insists=True,
                in_words=q.kind in IN_WORDS,
            )
            for q, cell in wanted
        ]
        for number, decided, generation in generate(home, state, prepared, should_stop, on_wait):
            found = answers.finish(home, decided, read, generation)
            question, cell = left.pop(number)
            yield judge(question, cell, found, asdict(found))
    except Exception as error:
        reason = explain(error, f"asking {read.document}")
        rest = list(left.values())
        if len(rest) == 1:
            yield failed(rest[0][1], reason)
            return
    else:
        return
    for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
        if not should_stop():
            yield from _together(home, state, read, half, should_stop, on_wait)


def judge(question: Question, cell: Cell, found: answers.Answer, facts: dict[str, Any]) -> Cell:
    """The cell with its answer, and whether a person has to look at it and why."""
    verified = [citation for citation in found.citations if citation.verified]
    value, problem = None, None
    state: CellState = "not_found"
    if found.found:
        try:
            value = kinds.value(question.kind, found.answer, question.options)
        except kinds.NoValue as error:
            problem = str(error)
        problem = problem or _doubt(question, cell, found, verified)
        state = "needs_review" if problem else "found"
    return replace(
        cell,
        state=state,
        answer=facts | {"value": value, "problem": problem},
        quote=verified[0].quote if verified else None,
        place=where(verified[0].place) if verified else None,
        seconds=found.seconds,
    )


def _doubt(question: Question, cell: Cell, found: answers.Answer, verified: Sequence[Citation]) -> str | None:
    if found.doubted:
        return "the model itself would rather have said that the document does not say"
    if found.tokens_generated >= cell.settings["max_tokens"]:
        return f"cut off after {found.tokens_generated} tokens"
    if question.quote and not verified:
        return "a quote is required, and none of it stands in the document"
    if len(verified) < len(found.citations):
        return "it quotes what does not stand in the document"
    if found.nearest:
        return "another sentence may answer it as well"
    return None


def failed(cell: Cell, reason: str) -> Cell:
    """The cell as one that could not be answered."""
    return replace(cell, state="failed", answer={"error": reason})


def explain(error: Exception, doing: str) -> str:
    """In one line why something failed; what is no message of ours also goes to the log."""
    if isinstance(error, EXPLAINED):
        return " ".join(str(error).split())
    logging.getLogger(__name__).error("%s failed", doing, exc_info=error)
    line = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "memory" in line:
        return f"the model ran out of memory ({line or 'MemoryError'}): free some, or use a smaller document"
    return f"it failed unexpectedly ({line}): run the report again"


def where(place: Place | None) -> str:
    """A quote's place in words."""
    if place is None:
        return "not found"
    page = f", page {place.page}" if place.page else f", “{place.chapter}”" if place.chapter else ""
    several = f"s {place.line_start}–{place.line_end}" if place.line_end > place.line_start else f" {place.line_start}"
    return f"{place.path}{page}, line{several}"


def digest(*parts: str) -> str:
    """A hash of strings in order."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
