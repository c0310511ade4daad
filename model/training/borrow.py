"""The pointer's beginning: another encoder's upper layers, over what of that encoder's states `mini`'s can say.

MiniLM has learned from much text to look both ways; a pointer of random layers has only the questions to learn it from.
So its layers begin as MiniLM's upper ones (see `reader`), with the feed-forward neurons that say most, and a linear map
from `mini`'s hidden states, and a token's place, to what MiniLM has below those layers of the same word, by least
squares. Training goes on from there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.engine import Engine
from model.pointer import PLACES
from model.training import reader
from model.training.drawing import Builder
from model.training.packing import attend, make_pack
from model.training.pointer import POINTER, Pointer
from model.training.student import MINI
from model.training.tasks import PromptForm, Sample, Turn, asked, encode
from model.training.teacher import IM_START

LONGEST = 2500
"""Tokens of a sample."""
RIDGE = 1e-3
"""Weight on the map's size, in shares of the mean square of what it maps."""


class Seen(NamedTuple):
    """Tokens of questions with their evidence: what `mini` has of each [N, n C], where in its question it stands [N],
    what the encoder has of the same word below the borrowed layers [N, D], and of the feed-forward neurons of those
    layers what size they have [layers, inner]."""

    inside: Tensor
    place: Tensor
    wanted: Tensor
    size: Tensor


class Tokenizers(NamedTuple):
    """`mini`'s and the encoder's."""

    mini: Any
    encoder: Any


def borrow(engine: Engine, encoder: reader.Reader, builder: Builder, tokenizers: Tokenizers, tokens: int
           ) -> dict[str, Tensor]:
    """The parameters of a pointer. builder: draws the samples that it is fitted to, of about so many tokens."""
    found: list[Seen] = []
    while sum(len(each.place) for each in found) < tokens:
        sample = builder.shown(0)
        if sample.turns and len(encode(sample, builder.form, tokenizers.mini)[0]) <= LONGEST:
            found += look(engine, encoder.eval(), sample, builder.form, tokenizers)
    inside, place, wanted, size = zip(*found, strict=True)
    return fitted(encoder, Seen(torch.cat(inside), torch.cat(place), torch.cat(wanted), torch.stack(size).mean(0)))


def fitted(encoder: reader.Reader, seen: Seen) -> dict[str, Tensor]:
    """The parameters of a pointer: the encoder's upper layers, and the map to what is below them."""
    state = Pointer(MINI).state_dict()
    around = F.embedding(seen.place.clamp_max(PLACES - 1), encoder.places.detach())
    given = torch.cat((seen.inside, around, torch.ones(len(around), 1)), -1)
    square = given.T @ given
    square += RIDGE * square.diagonal().mean() * torch.eye(len(square))
    both = torch.linalg.solve(square, given.T @ seen.wanted).T
    inside, place, constant = both.split([seen.inside.shape[1], around.shape[1], 1], -1)
    state["enter.weight"] = inside
    state["places"] = encoder.places.detach() @ place.T + constant[:, 0]
    first = len(encoder.layers) - POINTER["num_layers"]
    for n in range(POINTER["num_layers"]):
        layer = encoder.layers[first + n].state_dict()
        kept = seen.size[n].topk(POINTER["intermediate_size"]).indices.sort().values
        layer |= {"up.weight": layer["up.weight"][kept], "up.bias": layer["up.bias"][kept],
                  "down.weight": layer["down.weight"][:, kept]}
        state |= {f"layers.{n}.{name}": value for name, value in layer.items()}
    return {name: value.float().contiguous() for name, value in state.items()}


@torch.no_grad()
def look(engine: Engine, encoder: reader.Reader, sample: Sample, form: PromptForm, tokenizers: Tokenizers
         ) -> list[Seen]:
    """What `mini` and the encoder have of the questions of a sample."""
    ids, _, _ = encode(sample, form, tokenizers.mini)
    looked_at, last = engine.model.look(torch.tensor(ids), engine.empty())
    parts = looked_at.unflatten(-1, (-1, last.shape[-1]))
    inside = torch.cat((F.rms_norm(parts, parts.shape[-1:], None, engine.config.eps).flatten(1), last), -1)
    found, begin = [], 0
    for n, turn in enumerate(sample.turns):
        words = asked(turn, form)
        words = words if n == 0 else "user\n" + words.lstrip("\n")
        own = tokenizers.mini.encode(words, add_special_tokens=False)
        while ids[begin : begin + len(own.ids)] != own.ids:
            begin += 1
        states, sizes, word_at = _of_encoder(encoder, turn, tokenizers.encoder)
        pairs = [(at, there) for at, (a, b) in enumerate(own.offsets)
                 if (there := _same_word(words, turn, words[a:b], a, word_at)) is not None]
        reply = ids.index(IM_START, begin + len(own.ids)) - begin  # what stands for no answer stands a few words on
        reply += len(tokenizers.mini.encode("assistant\n", add_special_tokens=False).ids)
        pairs.append((reply, 0))
        mine, theirs = (torch.tensor(each) for each in zip(*pairs, strict=True))
        found.append(Seen(inside[begin + mine], mine, states[theirs], sizes))
        begin += len(own.ids)
    return found


def _of_encoder(encoder: reader.Reader, turn: Turn, tokenizer: Any
                ) -> tuple[Tensor, Tensor, dict[tuple[int, int], int]]:
    """Of a question with its evidence: the encoder's states below the borrowed layers [T, D]; of these layers' neurons
    the size of what they say [layers, inner]; and which token holds a character of the question (0) or the evidence
    (1)."""
    pair = reader.encode([(turn.question.strip(), turn.shown)], tokenizer)
    pack = make_pack(pair.lengths.tolist())
    ids, kinds = (torch.from_numpy(t.astype(np.int64)) for t in (pair.ids, pair.kinds))
    x = encoder.enter(ids, kinds, pack)
    states, sizes = [x], []
    for layer in encoder.layers:
        q, k, v = layer.project(x)
        x = layer.finish(x, attend(q, k, v, pack, q.shape[-1] ** -0.5, causal=False))
        states.append(x)
        # What the feed-forward part saw cannot be had from outside; its input is near the layer's output.
        sizes.append(F.gelu(layer.up(x)).square().mean(0).sqrt() * layer.down.weight.norm(dim=0))
    first = len(encoder.layers) - POINTER["num_layers"]
    held = {(int(kind), char): at for at, (kind, (a, b)) in enumerate(zip(pair.kinds, pair.offsets, strict=True))
            for char in range(a, b)}
    return states[first], torch.stack(sizes[first:]), held


def _same_word(words: str, turn: Turn, said: str, at: int, held: dict[tuple[int, int], int]) -> int | None:
    """The encoder's token for one of `mini`'s, which says this from character `at` of a question's words on."""
    at += len(said) - len(said.lstrip()) if said.strip() else 0
    question = turn.question.strip()
    for kind, text, start in ((1, turn.shown, words.find(turn.shown)), (0, question, words.find(question)),
                              (0, question, words.rfind(question))):
        if start <= at < start + len(text):
            return held.get((kind, at - start))
    return None
