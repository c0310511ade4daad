"""Answers about several documents that were kept: listed, shown again, taken out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.citations import Citation
from app.conversations import plain, where
from app.home import Home
from app.passages import Place
from app.several import Cited
from storage.composed import ComposedAnswer


@dataclass(frozen=True)
class Talk:
    """What one of the documents answered: the conversation that its own answer is."""

    document: str
    title: str
    conversation: int
    found: bool


@dataclass(frozen=True)
class Together:
    """A question to several documents and what came of it. created_at: seconds since 1970. stopped: before all of them
    were asked. A damaged one says so in `answer`, and has no citations."""

    number: int
    question: str
    created_at: float
    answer: str
    citations: tuple[Cited, ...]
    talks: tuple[Talk, ...]
    stopped: bool = False


def listed(home: Home, most: int | None = None) -> list[Together]:
    """The latest answers, newest first."""
    return [_together(kept) for kept in home.composed.list(most)]


def get(home: Home, number: int) -> Together:
    """One of them. Raises NotFound, DatabaseDamaged."""
    return _together(home.composed.get(number))


def as_json(home: Home, number: int) -> str:
    """All that is known of an answer, as JSON. Raises NotFound, DatabaseDamaged."""
    return json.dumps(facts(home, number), indent=2, ensure_ascii=False) + "\n"


def facts(home: Home, number: int) -> dict[str, Any]:
    """All that is known of an answer. Raises NotFound, DatabaseDamaged."""
    kept = home.composed.get(number)
    return {"number": kept.id, "question": kept.question, "created_at": kept.created_at, **kept.facts}


def markdown(home: Home, number: int) -> str:
    """An answer as Markdown, with its quotes and their places. Raises NotFound, DatabaseDamaged."""
    kept = home.composed.get(number)
    of = ", ".join(plain(talk["title"]) for talk in kept.facts["documents"])
    lines = [f"# {plain(kept.question)}", "", f"Asked of {of}", ""]
    lines += [f"{plain(line)}  " for line in kept.facts["answer"].splitlines()] + [""]
    for n, cited in enumerate(kept.facts["citations"], 1):
        quote, place = plain(cited["citation"]["quote"]), plain(where(cited["citation"]))
        lines.append(f"{n}. “{quote}”: {plain(cited['title'])}, {place}")
    return "\n".join(lines) + "\n"


def _together(kept: ComposedAnswer) -> Together:
    if not kept.intact:
        return Together(kept.id, kept.question, kept.created_at, "This answer is damaged: ask again.", (), ())
    return Together(
        kept.id, kept.question, kept.created_at, kept.facts["answer"],
        tuple(_cited(each) for each in kept.facts["citations"]),
        tuple(Talk(**each) for each in kept.facts["documents"]), kept.facts["stopped"],
    )


def _cited(facts: Mapping[str, Any]) -> Cited:
    place = facts["citation"]["place"]
    citation = Citation(**facts["citation"] | {"place": Place(**place) if place else None})
    return Cited(facts["document"], facts["title"], citation)
