"""Text to token ids and back, behind one small interface with two makers: Kimi's tiktoken file, and tokenizer.json.

`encode` never produces a special token, whatever the text contains: a document is data. Special tokens come only from
`special`, which the chat template uses.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import tiktoken
import tokenizers

from model.errors import TokenizerError


class Tokenizer(Protocol):
    """What the rest of the project knows of a tokenizer."""

    identity: str
    """A hash of everything that decides ids."""
    special: dict[str, int]
    """Special tokens by name."""
    size: int
    """Every id is below this."""

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; the names of special tokens in it are text like any other."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens left out; bytes that are no UTF-8 become U+FFFD."""
        ...


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder. Raises TokenizerError."""
    try:
        if (folder / "tiktoken.model").is_file():
            return TiktokenTokenizer(folder)
        if (folder / "tokenizer.json").is_file():
            return JsonTokenizer(folder / "tokenizer.json")
    except Exception as error:  # the libraries raise bare Exceptions for damaged files
        raise TokenizerError(f"the tokenizer in {folder} cannot be read ({error}): download it again") from error
    raise TokenizerError(f"{folder} has neither tokenizer.json nor tiktoken.model")


class TokenStream:
    """Turns ids into text as they come, holding back bytes of a character that is not complete yet."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0

    def push(self, token: int) -> str:
        """The text that this token completes, possibly none."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids)
        if text.endswith("�"):
            return ""
        return self._take(text)

    def finish(self) -> str:
        """What is still held back at the end."""
        return self._take(self._tokenizer.decode(self._ids))

    def _take(self, text: str) -> str:
        new, self._shown = text[self._shown :], len(text)
        return new


class JsonTokenizer:
    """A Hugging Face `tokenizer.json`, read with the `tokenizers` package."""

    PIECE = 1 << 20
    """Longer texts are encoded in pieces of about this many characters, cut before a line: bounded memory."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.encode_special_tokens = True  # "encode their text", that is: as plain text
        added = self._tokenizer.get_added_tokens_decoder()
        self.special = {token.content: id for id, token in added.items() if token.special}
        self.size = max(self._tokenizer.get_vocab().values(), default=-1) + 1
        self.identity = hashlib.sha256(path.read_bytes()).hexdigest()[:32]

    def encode(self, text: str) -> list[int]:
        """See Tokenizer."""
        pieces = _pieces(whole(text), self.PIECE)
        encoded = self._tokenizer.encode_batch_fast(pieces, add_special_tokens=False)  # without places in the text
        return [id for piece in encoded for id in piece.ids]

    def decode(self, ids: Sequence[int]) -> str:
        """See Tokenizer."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)


_SURROGATES = re.compile("[\ud800-\udfff]")


def whole(text: str) -> str:
    """A text as long, with U+FFFD for halves of characters, which no UTF-8 can hold."""
    return _SURROGATES.sub("�", text)


def _pieces(text: str, size: int) -> list[str]:
    """Cut text into pieces of at least `size` characters, each cut at a line's start where there is one."""
    pieces, start = [], 0
    while len(text) - start > size:
        cut = text.find("\n", start + size) + 1 or len(text)
        pieces.append(text[start:cut])
        start = cut
    return [*pieces, text[start:]]


class TiktokenTokenizer:
    """Kimi's `tiktoken.model`: ranks of byte strings, 256 special tokens after them."""

    PATTERN = "|".join(
        [
            r"[\p{Han}]+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
    )
    SPECIALS = 256
    NAMED: ClassVar[dict[int, str]] = {
        0: "[BOS]", 1: "[EOS]", 2: "<|im_end|>", 3: "<|im_user|>", 4: "<|im_assistant|>", 9: "[EOT]",
        10: "<|im_system|>", 17: "<|im_middle|>", 254: "[UNK]", 255: "[PAD]",
    }
    """Offsets from the first special id; a tokenizer_config.json beside the vocabulary overrides them."""
    BLOCK = 400_000
    RUN = 25_000
    """The reference encoder cuts its input every BLOCK characters, and runs of RUN (non-)space characters: the cuts
    change ids, so they are part of the tokenizer."""

    def __init__(self, folder: Path) -> None:
        raw = (folder / "tiktoken.model").read_bytes()
        lines = (line.split() for line in raw.splitlines() if line)
        ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
        base = len(ranks)
        names = {base + n: self.NAMED.get(n, f"<|reserved_token_{base + n}|>") for n in range(self.SPECIALS)}
        settings = folder / "tokenizer_config.json"
        if settings.is_file():
            named = json.loads(settings.read_text("utf-8")).get("added_tokens_decoder", {})
            names |= {int(id): token["content"] for id, token in named.items()}
        self.special = {name: id for id, name in names.items()}
        self._encoding = tiktoken.Encoding(
            "kimi", pat_str=self.PATTERN, mergeable_ranks=ranks, special_tokens=self.special
        )
        self._first_special = base
        self.size = self._encoding.n_vocab
        self.identity = hashlib.sha256(raw + json.dumps(sorted(names.items())).encode()).hexdigest()[:32]

    def encode(self, text: str) -> list[int]:
        """See Tokenizer."""
        ids: list[int] = []
        for start in range(0, len(text), self.BLOCK):
            for piece in _cut_runs(text[start : start + self.BLOCK], self.RUN):
                ids += self._encoding.encode(piece, allowed_special=set(), disallowed_special=())
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """See Tokenizer."""
        return self._encoding.decode([id for id in ids if id < self._first_special], errors="replace")


def _cut_runs(text: str, longest: int) -> list[str]:
    """Cut text so that no piece has more than `longest` space or non-space characters in a row."""
    cuts = [0]
    for run in re.finditer(r"\s+|\S+", text):
        cuts += range(run.start() + longest, run.end(), longest)
    return [text[a:b] for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True)]


