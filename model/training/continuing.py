"""The teacher writes on: many prompts at once, with the keys and values of what it has read kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.training.packing import attend, make_pack
from model.training.teacher import EPS, HEAD, HEADS, IM_END, Teacher, rotation


def continuations(
    teacher: Teacher, prompts: Sequence[list[int]], most: int, batch: int, temperature: float = 0.0, seed: int = 0
) -> list[list[int]]:
    """What follows each prompt, up to `most` tokens or <|im_end|>, which is left out. Likeliest tokens at temperature
    0, else drawn. batch: prompts side by side; each is at least a token long."""
    source = torch.Generator(teacher.embed.device).manual_seed(seed)
    order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))  # alike in length, so that little is padding
    written: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        for n, ids in zip(some, _continue(teacher, [prompts[n] for n in some], most, temperature, source), strict=True):
            written[n] = ids
    return written


@torch.no_grad()
def _continue(
    teacher: Teacher, prompts: list[list[int]], most: int, temperature: float, source: torch.Generator
) -> list[list[int]]:
    device, lengths = teacher.embed.device, [len(prompt) for prompt in prompts]
    kept = _Kept(teacher, lengths, max(lengths) + most)
    hidden = _read(teacher, prompts, kept)
    place = torch.tensor(lengths, device=device)
    rows: list[Tensor] = []
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    for _ in range(most):
        logits = F.linear(hidden, teacher.embed).float()
        token = logits.argmax(-1) if temperature == 0 else _drawn(logits / temperature, source)
        rows.append(token)
        ended |= token == IM_END
        if bool(ended.all()):
            break
        hidden = _step(teacher, token, place, kept)
        place = place + 1
    tokens = torch.stack(rows, 1).tolist()
    return [ids[: ids.index(IM_END)] if IM_END in ids else ids for ids in tokens]


class _Kept:
    """Keys and values of every layer: [B, H, room, D] each."""

    def __init__(self, teacher: Teacher, lengths: list[int], room: int) -> None:
        like = teacher.embed
        shape = (len(lengths), HEADS, room, HEAD)
        self.layers = [(like.new_zeros(shape), like.new_zeros(shape)) for _ in teacher.layers]
        self.places = torch.arange(room, device=like.device)


def _read(teacher: Teacher, prompts: list[list[int]], kept: _Kept) -> Tensor:
    """Read prompts packed in one row; the normed hidden state [B, C] at the end of each."""
    device = teacher.embed.device
    pack = make_pack([len(prompt) for prompt in prompts], device)
    row = torch.repeat_interleave(torch.arange(len(prompts), device=device), pack.borders.diff())
    x = F.embedding(torch.tensor([id for prompt in prompts for id in prompt], device=device), teacher.embed)
    cos, sin = rotation(pack.position, x)
    for layer, (keys, values) in zip(teacher.layers, kept.layers, strict=True):
        q, k, v = layer.project(x, cos, sin)
        keys[row, :, pack.position], values[row, :, pack.position] = k, v
        x = layer.finish(x, attend(q, k, v, pack, HEAD**-0.5))
    return F.rms_norm(x[pack.borders[1:] - 1], x.shape[-1:], teacher.norm, EPS)


def _step(teacher: Teacher, token: Tensor, place: Tensor, kept: _Kept) -> Tensor:
    """One token [B] of each row at its place [B] -> normed hidden [B, C]."""
    x = F.embedding(token, teacher.embed)
    cos, sin = rotation(place, x)
    seen = (kept.places <= place[:, None])[:, None, None]
    row = torch.arange(len(token), device=token.device)
    for layer, (keys, values) in zip(teacher.layers, kept.layers, strict=True):
        q, k, v = layer.project(x, cos, sin)
        keys[row, :, place], values[row, :, place] = k, v
        heads = F.scaled_dot_product_attention(q[:, :, None], keys, values, attn_mask=seen, scale=HEAD**-0.5)
        x = layer.finish(x, heads[:, :, 0])
    return F.rms_norm(x, x.shape[-1:], teacher.norm, EPS)


def _drawn(logits: Tensor, source: torch.Generator) -> Tensor:
    """A token of each row [B, V], by its probability."""
    return torch.multinomial(logits.softmax(-1), 1, generator=source)[:, 0]
