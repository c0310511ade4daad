"""Corpus text as one flat uint16 array a file, and packed rows of fixed-length windows from them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.training.packing import Pack, make_pack
from model.training.teacher import END_OF_TEXT


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON rows of a corpus file (`.jsonl.zst`)."""
    import zstandard

    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            yield json.loads(line)


def plain_tokenizer(path: Path) -> Any:
    """A `tokenizers.Tokenizer` that takes special tokens in text for plain text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def tokenise_file(path: Path, tokenizer: Any, out: Path, batch: int = 64) -> int:
    """Write every text of a corpus file, each ended by <|endoftext|>, as one uint16 array; returns its length."""
    parts: list[np.ndarray] = []

    def flush(texts: list[str]) -> None:
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            parts.append(np.array([*encoding.ids, END_OF_TEXT], dtype=np.uint16))

    texts: list[str] = []
    for row in rows(path):
        texts.append(row["text"])
        if len(texts) == batch:
            flush(texts)
            texts = []
    flush(texts)
    flat = np.concatenate(parts)
    unfinished = out.with_suffix(".part.npy")
    np.save(unfinished, flat)
    unfinished.rename(out)
    return len(flat)


class Windows:
    """Windows of `length` tokens from several arrays in one seeded order, packed `length * count` tokens a step."""

    def __init__(self, files: list[Path], length: int, tokens: int, seed: int, device: str) -> None:
        self.arrays = [np.load(f, mmap_mode="r") for f in files]
        self.length, self.count, self.device = length, tokens // length, device
        pairs = [(a, s) for a, array in enumerate(self.arrays) for s in range(0, len(array) - length, length)]
        if len(pairs) < self.count:
            raise ValueError(f"{len(pairs)} windows of {length} tokens are fewer than one step's {self.count}")
        self.order = np.array(pairs)[np.random.default_rng(seed).permutation(len(pairs))]
        self.pack = make_pack([length] * self.count, device)

    def step(self, index: int) -> tuple[Tensor, Pack, Tensor]:
        """ids [T], their pack, and next-token targets [T] (-1 at each window's end)."""
        picks = [self.order[i % len(self.order)] for i in range(index * self.count, (index + 1) * self.count)]
        ids = torch.from_numpy(np.stack([self.arrays[a][s:s + self.length] for a, s in picks]).astype(np.int64))
        target = torch.full_like(ids, -1)
        target[:, :-1] = ids[:, 1:]
        return ids.flatten().to(self.device), self.pack, target.flatten().to(self.device)


class Conversations:
    """Task samples (see tasks.py) packed first-fit into rows of `tokens`; the rest of a row is one ignored sequence.
    Samples longer than `longest` are left out."""

    def __init__(self, files: list[Path], tokens: int, seed: int, device: str, longest: int | None = None) -> None:
        loaded = [np.load(f) for f in files]
        self.ids, self.reply, lengths = (np.concatenate([d[k] for d in loaded]) for k in ("ids", "reply", "lengths"))
        self.starts = np.concatenate(([0], np.cumsum(lengths)))
        self.tokens, self.device = tokens, device
        order = np.random.default_rng(seed).permutation(len(lengths))
        self.bins: list[list[int]] = []
        open_bins: list[tuple[int, list[int]]] = []
        for i in order.tolist():
            need = int(lengths[i])
            if need > min(tokens, longest or tokens):
                continue
            for at, (room, members) in enumerate(open_bins):
                if room >= need:
                    members.append(i)
                    open_bins[at] = (room - need, members)
                    break
            else:
                open_bins.append((tokens - need, [i]))
            if len(open_bins) > 64:
                fullest = min(range(len(open_bins)), key=lambda at: open_bins[at][0])
                self.bins.append(open_bins.pop(fullest)[1])
        self.bins += [members for _, members in open_bins]

    def step(self, index: int) -> tuple[Tensor, Pack, Tensor]:
        """ids [T], their pack, and targets [T]: the next token where it belongs to a reply, else -1."""
        ids, targets = [], []
        lengths: list[int] = []
        for i in self.bins[index % len(self.bins)]:
            part = slice(self.starts[i], self.starts[i + 1])
            sample, reply = self.ids[part].astype(np.int64), self.reply[part]
            ids.append(sample)
            targets.append(np.append(np.where(reply[1:], sample[1:], -1), -1))
            lengths.append(len(sample))
        if rest := self.tokens - sum(lengths):
            ids.append(np.zeros(rest, dtype=np.int64))
            targets.append(np.full(rest, -1))
            lengths.append(rest)
        flat, target = (torch.from_numpy(np.concatenate(t)).to(self.device) for t in (ids, targets))
        return flat, make_pack(lengths, self.device), target
