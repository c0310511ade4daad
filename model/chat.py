"""Conversations to token ids, in the form the model was trained on: its own chat template.

A template is rendered once with marks in place of the contents. What stands between the marks is markup, where special
tokens count; the contents themselves are encoded as plain text, so nothing in a document can pose as markup.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from model.errors import TokenizerError
from model.tokenizer import Tokenizer

KIMI = (
    "{% for message in messages %}<|im_{{ message.role }}|>{{ message.role }}<|im_middle|>{{ message.content }}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>{% endif %}"
)
"""The form of Moonshot's chat models, for a folder that brings no template of its own."""


@dataclass(frozen=True)
class Turn:
    """One message: who speaks, and the pieces of what is said (encoded one by one, so a prefix stays a prefix)."""

    role: str
    pieces: tuple[str, ...]


class ChatTemplate:
    """Turns conversations into ids."""

    def __init__(self, tokenizer: Tokenizer, source: str) -> None:
        self._tokenizer = tokenizer
        self._source = source
        self._template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(source)
        names = sorted(tokenizer.special, key=len, reverse=True)
        self._special = re.compile("|".join(re.escape(name) for name in names)) if names else re.compile(r"(?!)")

    @staticmethod
    def from_folder(folder: Path, tokenizer: Tokenizer) -> "ChatTemplate":
        """The folder's own template, or Kimi's if it has none. Raises TokenizerError for a broken one."""
        own = folder / "chat_template.jinja"
        settings = folder / "tokenizer_config.json"
        source = None
        try:
            if own.is_file():
                source = own.read_text("utf-8")
            elif settings.is_file():
                source = json.loads(settings.read_text("utf-8")).get("chat_template")
            return ChatTemplate(tokenizer, source or KIMI)
        except (TemplateError, ValueError, TypeError, AttributeError) as error:
            raise TokenizerError(f"the chat template in {folder} is broken: {error}") from error

    def encode(self, turns: Sequence[Turn], reply: bool) -> list[list[int]]:
        """Ids of a conversation, with the opening of the assistant's turn at the end if `reply`.

        Returns one list of ids for each piece of each turn, holding the markup before it and the piece itself, and a
        last list with the markup after the last piece. Joined, they are the whole prompt.
        """
        marks = [f"\x02{n}\x03" for n in range(len(turns))]
        messages = [{"role": turn.role, "content": mark} for turn, mark in zip(turns, marks, strict=True)]
        try:
            text = self._template.render(
                messages=messages, add_generation_prompt=reply, bos_token="", eos_token="", tools=None
            )
        except TemplateError as error:
            raise TokenizerError(f"the chat template cannot show this conversation: {error}") from error
        encoded = []
        for turn, mark in zip(turns, marks, strict=True):
            markup, found, text = text.partition(mark)
            if not found:
                raise TokenizerError(f"the chat template leaves out a {turn.role} message")
            if mark in text:
                raise TokenizerError(f"the chat template shows a {turn.role} message more than once")
            for piece in turn.pieces:
                encoded.append(self._markup(markup) + self._tokenizer.encode(piece))
                markup = ""
        return [*encoded, self._markup(text)]

    def _markup(self, text: str) -> list[int]:
        """Ids of markup: special tokens by name, the rest as text."""
        ids, start = [], 0
        for match in self._special.finditer(text):
            ids += self._tokenizer.encode(text[start : match.start()])
            ids.append(self._tokenizer.special[match[0]])
            start = match.end()
        return ids + self._tokenizer.encode(text[start:])
