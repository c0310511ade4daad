"""The teacher writes on: many prompts at once, with the keys and values of what it has read kept.

Rows of a batch stand side by side in one cache of fixed size, with the three key heads as they are; the three queries
of a key head are for the same place, so attention takes them as three rows of one head. On a GPU a step of the whole
batch is one CUDA graph, recorded once for each room (a number of places) that batches need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from model.training.packing import attend, make_pack
from model.training.teacher import EPS, HEAD, HEADS, IM_END, KV_HEADS, Teacher, rotation

GROUP = HEADS // KV_HEADS
ROOM = 128
"""Rooms are multiples of so many places."""
LEAST_LIKELY = 0.1
"""Of what is drawn: a token must have this share of the likeliest one's probability."""
LOOK_EVERY = 4
"""Steps after which the host asks whether rows have ended."""


class Continuer:
    """Writes on behind prompts, `batch` at a time, of at most `longest` tokens with what is written."""

    def __init__(self, teacher: Teacher, batch: int, longest: int) -> None:
        self.teacher, self.batch = teacher, batch
        like, device = teacher.embed, teacher.embed.device
        room = -(-longest // ROOM) * ROOM
        shape = (batch, KV_HEADS, room, HEAD)
        self.kept = [(like.new_zeros(shape), like.new_zeros(shape)) for _ in teacher.layers]
        self.hidden = like.new_zeros(batch, like.shape[1])
        self.place = torch.zeros(batch, dtype=torch.int64, device=device)
        self.token = torch.zeros(batch, dtype=torch.int64, device=device)
        self.ended = torch.zeros(batch, dtype=torch.bool, device=device)
        self.noise = torch.ones(batch, like.shape[0], device=device)
        self.places, self.rows = torch.arange(room, device=device), torch.arange(batch, device=device)
        self.graphs: dict[tuple[int, float], Callable[[], Any]] = {}

    @torch.no_grad()
    def __call__(self, prompts: Sequence[Sequence[int]], most: int, temperature: float = 0.0,
                 source: torch.Generator | None = None, enough: float = 1.0) -> list[list[int]]:
        """What follows each prompt, up to `most` tokens or <|im_end|>, which is left out. Likeliest tokens at
        temperature 0, else drawn. enough: the share of a batch's rows that must have ended; the others break off."""
        order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))  # alike in length: little room is lost
        written: list[list[int]] = [[] for _ in prompts]
        for start in range(0, len(order), self.batch):
            some = order[start : start + self.batch]
            found = self._write([prompts[n] for n in some], most, temperature, source, enough)
            for n, ids in zip(some, found, strict=False):
                written[n] = ids
        return written

    def _write(self, prompts: list[Sequence[int]], most: int, temperature: float,
               source: torch.Generator | None, enough: float) -> list[list[int]]:
        padded = [*prompts, *[prompts[0]] * (self.batch - len(prompts))]
        self._read(padded)
        self.ended.zero_()
        step = self._step(-(-(max(map(len, prompts)) + most) // ROOM) * ROOM, temperature)
        tokens = []
        for n in range(most):
            if temperature:
                self.noise.exponential_(generator=source)
            step()
            tokens.append(self.token.clone())
            if n % LOOK_EVERY == LOOK_EVERY - 1 and int(self.ended.sum()) >= enough * self.batch:
                break
        found = torch.stack(tokens, 1).tolist()[: len(prompts)]
        return [ids[: ids.index(IM_END)] if IM_END in ids else ids for ids in found]

    def _read(self, prompts: list[Sequence[int]]) -> None:
        """Read prompts packed in one row; keep keys and values, and the normed hidden state at the end of each."""
        teacher, device = self.teacher, self.place.device
        pack = make_pack([len(prompt) for prompt in prompts], device)
        row = torch.repeat_interleave(self.rows, pack.borders.diff())
        ids = torch.from_numpy(np.concatenate([np.asarray(prompt, dtype=np.int64) for prompt in prompts]))
        x = F.embedding(ids.to(device), teacher.embed)
        cos, sin = rotation(pack.position, x)
        for layer, (keys, values) in zip(teacher.layers, self.kept, strict=True):
            q, k, v = layer.project(x, cos, sin)
            keys[row, :, pack.position], values[row, :, pack.position] = k[:, ::GROUP], v[:, ::GROUP]
            x = layer.finish(x, attend(q, k, v, pack, HEAD**-0.5))
        self.hidden.copy_(F.rms_norm(x[pack.borders[1:] - 1], x.shape[-1:], teacher.norm, EPS))
        self.place.copy_(pack.borders.diff())

    def _step(self, room: int, temperature: float) -> Callable[[], Any]:
        """What chooses every row's next token and reads it, with so much room: a graph on a GPU."""
        def step() -> None:
            self._choose(temperature)
            self._advance(room)

        if not self.place.is_cuda:
            return step
        if (room, temperature) not in self.graphs:
            before = [t.clone() for t in (self.hidden, self.place, self.ended)]
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # libraries set themselves up before a recording
                step()
            torch.cuda.current_stream().wait_stream(side)
            for t, value in zip((self.hidden, self.place, self.ended), before, strict=True):
                t.copy_(value)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
            self.graphs[room, temperature] = graph.replay
        return self.graphs[room, temperature]

    def _choose(self, temperature: float) -> None:
        """The next token of each row, from the hidden state at its end."""
        logits = F.linear(self.hidden, self.teacher.embed).float()
        if temperature:  # the first of exponential clocks that run as fast as tokens are likely
            logits = (logits - logits.amax(-1, keepdim=True)) / temperature
            chance = logits.exp()
            logits = torch.where(chance < LEAST_LIKELY, 0, chance / self.noise)
        self.token.copy_(logits.argmax(-1))
        self.ended |= self.token == IM_END

    def _advance(self, room: int) -> None:
        """Read each row's token at its place."""
        x = F.embedding(self.token, self.teacher.embed)
        cos, sin = rotation(self.place, x)
        seen = (self.places[:room] <= self.place[:, None])[:, None, None]
        for layer, (keys, values) in zip(self.teacher.layers, self.kept, strict=True):
            q, k, v = layer.project(x, cos, sin)
            keys[self.rows, :, self.place], values[self.rows, :, self.place] = k[:, ::GROUP], v[:, ::GROUP]
            heads = F.scaled_dot_product_attention(
                q.unflatten(1, (KV_HEADS, GROUP)), keys[:, :, :room], values[:, :, :room], seen, scale=HEAD**-0.5
            )
            x = layer.finish(x, heads.flatten(1, 2))
        self.hidden.copy_(F.rms_norm(x, x.shape[-1:], self.teacher.norm, EPS))
        self.place += 1
