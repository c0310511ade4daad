"""A document and the conversation about it, as token ids: first the part whose state is saved, then the rest."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from app import prompts
from model.chat import ChatTemplate, Turn
from model.engine import Engine


@dataclass(frozen=True)
class Exchange:
    """An earlier question, the evidence shown with it, and the reply."""

    question: str
    reply: str
    evidence: str = ""


def document_ids(engine: Engine, text: str) -> list[int]:
    """The ids a document is read as: the opening of the conversation, then the text."""
    return list(_document_ids(engine.chat, text))


@lru_cache(maxsize=2)
def _document_ids(chat: ChatTemplate, text: str) -> "array[int]":
    """`document_ids`, kept of the latest two texts: every question needs them, and they take 1.5 us a token."""
    opening = chat.encode(_turns(text, [prompts.question_turn("?")]), reply=True)
    return array("I", chain.from_iterable(opening[:2]))


def question_ids(
    engine: Engine, earlier: Sequence[Exchange], question: str, evidence: str = "", opening: str = "", read: int = 0
) -> list[int]:
    """The ids that follow the document: earlier questions and replies, this question, the opening of the reply.

    read: how many of the earlier exchanges the state has read already; their ids are left out.
    """
    said = []
    for exchange in earlier:
        said += [prompts.question_turn(exchange.question, exchange.evidence), exchange.reply]
    said.append(prompts.question_turn(question, evidence))
    pieces = engine.chat.encode(_turns("", said), reply=True)
    return list(chain.from_iterable(pieces[2 + 2 * read :])) + (engine.tokenizer.encode(opening) if opening else [])


def _turns(text: str, said: Sequence[str]) -> list[Turn]:
    """System, then the user's first turn (document and question), then replies and questions in turn."""
    first, *rest = said
    turns = [Turn("system", (prompts.SYSTEM,)), Turn("user", (text, first))]
    for n, words in enumerate(rest):
        turns.append(Turn("assistant", (words,)) if n % 2 == 0 else Turn("user", (words.lstrip("\n"),)))
    return turns
