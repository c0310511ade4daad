"""A document and the conversation about it, as token ids: first the part whose state is saved, then the rest."""

from collections.abc import Sequence
from itertools import chain

from app import prompts
from model.chat import Turn
from model.engine import Engine
from storage.conversations import Message


def document_ids(engine: Engine, text: str) -> list[int]:
    """The ids a document is read as: the opening of the conversation, then the text."""
    opening = engine.chat.encode(_turns(text, [prompts.question_turn("?")]), reply=True)
    return list(chain.from_iterable(opening[:2]))


def question_ids(engine: Engine, earlier: Sequence[Message], question: str) -> list[int]:
    """The ids that follow the document: earlier questions and replies, this question, the opening of the reply."""
    said = [message.text for message in earlier]
    said = [prompts.question_turn(text) if n % 2 == 0 else text for n, text in enumerate(said)]
    pieces = engine.chat.encode(_turns("", [*said, prompts.question_turn(question)]), reply=True)
    return list(chain.from_iterable(pieces[2:]))


def _turns(text: str, said: Sequence[str]) -> list[Turn]:
    """System, then the user's first turn (document and question), then replies and questions in turn."""
    first, *rest = said
    turns = [Turn("system", (prompts.SYSTEM,)), Turn("user", (text, first))]
    for n, words in enumerate(rest):
        turns.append(Turn("assistant", (words,)) if n % 2 == 0 else Turn("user", (words.lstrip("\n"),)))
    return turns
