"""What a conversation can do besides go on: be branched, ask its last question again, be taken out, be dropped."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from app import reading, session
from app.errors import OncereadError
from app.home import Home
from model.sampling import Sampling
from storage.conversations import Conversation


def branch(home: Home, id: int, turns: int) -> Conversation:
    """A new conversation that begins with the first `turns` questions and answers of another, which stays as it is.

    Raises NotFound, and OncereadError if it has fewer.
    """
    talk = home.conversations.get(id)
    if not 0 <= turns <= len(talk.messages) // 2:
        raise OncereadError(f"conversation {id} has {len(talk.messages) // 2} turns: branch behind one of them")
    made = home.conversations.start(talk.document_id, f"{talk.title} (branch)")
    home.conversations.append(made.id, talk.messages[: 2 * turns])
    return home.conversations.get(made.id)


def before_last(home: Home, id: int) -> tuple[Conversation, str]:
    """A branch of a conversation without its last turn, and the question of that turn, to be asked again there.

    Raises NotFound, and OncereadError for a conversation without a question.
    """
    talk = home.conversations.get(id)
    if not talk.messages:
        raise OncereadError(f"conversation {id} has no question yet: ask one")
    return branch(home, id, len(talk.messages) // 2 - 1), talk.messages[-2].text


def again(
    home: Home, id: int, sampling: Sampling, should_stop: reading.ShouldStop | None = None
) -> Iterator[str | session.Answer]:
    """Ask a conversation's last question once more, in a branch: yields what `session.ask` yields; nothing is lost.

    Raises NotFound, and OncereadError for a conversation without a question.
    """
    branched, question = before_last(home, id)
    return session.ask(home, branched.document_id, question, branched.id, sampling, should_stop)


def remove(home: Home, id: int) -> None:
    """Forget a conversation and its state. Raises NotFound."""
    home.conversations.remove(id)
    home.kept.forget(id)


def facts(home: Home, id: int) -> dict[str, Any]:
    """All that is known of a conversation, as plain values. Raises NotFound."""
    talk = home.conversations.get(id)
    document = home.documents.get(talk.document_id)
    return asdict(talk) | {"conversation": talk.id, "document": document.id, "document_title": document.title}


def as_json(home: Home, id: int) -> str:
    """`facts` as JSON."""
    return json.dumps(facts(home, id), indent=2, ensure_ascii=False) + "\n"


def markdown(home: Home, id: int) -> str:
    """A conversation as Markdown: questions, answers, quotes with their places, and what each answer took."""
    talk = home.conversations.get(id)
    document = home.documents.get(talk.document_id)
    lines = [f"# {plain(talk.title)}", "", f"About {plain(document.title)} ({document.id})", ""]
    for question, reply in zip(talk.messages[::2], talk.messages[1::2], strict=True):
        known = reply.facts
        lines += [f"## {plain(question.text)}", "", plain(known.get("answer") or reply.text), ""]
        for number, citation in enumerate(known.get("citations", ()), 1):
            lines += [f"{number}. “{plain(citation['quote'])}”: {plain(where(citation))}"]
        settings = ", ".join(f"{name} {value}" for name, value in known.get("settings", {}).items())
        lines += ["", f"*{known.get('tokens_generated', 0)} tokens in {known.get('seconds', 0.0):.1f} s; {settings}; "
                      f"model {known.get('model', 'unknown')}*", ""]
    return "\n".join(lines)


def where(citation: dict[str, Any]) -> str:
    """The place of a saved citation in words."""
    place = citation["place"]
    if not place:
        return "not found in the document"
    page = f", page {place['page']}" if place["page"] else ""
    return f"{place['path']}{page}, line {place['line_start']}"


def plain(text: str) -> str:
    """Text on one line, with Markdown's and HTML's marks made harmless."""
    return re.sub(r"([\\`*_\[\]<>#|!])", r"\\\1", " ".join(text.split()))
