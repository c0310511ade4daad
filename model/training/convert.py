"""The teacher's weights -> the student's, before any training.

KDA takes q, k, v, o as they are (key-value heads repeated); its gates start almost open, with a spread of memory
lengths. MLA keeps six of nine heads and a rank-128 latent from the stacked key and value maps. Feed-forward neurons are
parted by what they do on a little text: the busiest are shared, the rest form balanced groups that fire together, and
each router is a linear guess at its groups' share of the output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model.training.packing import Pack, attend
from model.training.student import MINI, Student
from model.training.teacher import EPS, HEAD, HEADS, KV_HEADS, Teacher, rotation


def spans(dropped: tuple[int, ...], layers: int = 30) -> list[tuple[int, int]]:
    """Per student layer, the teacher layers [first, last] it stands for: a dropped layer joins the one before it."""
    kept = [n for n in range(layers) if n not in dropped]
    ends = [*kept[1:], layers]
    return [(first, end - 1) for first, end in zip(kept, ends, strict=True)]


def kda_from(layer: Any, generator: torch.Generator) -> dict[str, Tensor]:
    """KDA weights from one teacher layer."""
    repeat, hidden = HEADS // KV_HEADS, layer.q.shape[1]
    k, v = (w.view(KV_HEADS, HEAD, hidden).repeat_interleave(repeat, 0).reshape(-1, hidden) for w in (layer.k, layer.v))
    inner = HEADS * HEAD
    taps = torch.zeros(inner, 1, 4)
    taps[:, :, -1] = 1.0
    # Per head a decay scale 1..4; per channel a step between 0.001 and 0.3: memories of a few to a thousand tokens.
    rate = torch.linspace(1.0, 4.0, HEADS)
    step = torch.exp(torch.empty(inner).uniform_(-6.9, -1.2, generator=generator))
    low = [torch.randn(HEAD, hidden, generator=generator) * hidden ** -0.5 for _ in range(2)]
    return {
        "q_proj": layer.q, "k_proj": k, "v_proj": v, "o_proj": layer.o,
        "q_conv1d": taps, "k_conv1d": taps.clone(), "v_conv1d": taps.clone(),
        "f_a_proj": low[0], "g_a_proj": low[1], "f_b_proj": torch.zeros(inner, HEAD),
        "g_b_proj": torch.zeros(inner, HEAD), "b_proj": torch.zeros(HEADS, hidden),
        "A_log": rate.log().view(1, 1, HEADS, 1), "dt_bias": torch.log(torch.expm1(step)),
    }


def mla_from(layer: Any, x: Tensor) -> dict[str, Tensor]:
    """MLA weights from one teacher layer. x [T, C]: what its attention sees, to weigh the latent's directions."""
    hidden, rank, nope, shared = x.shape[1], MINI["kv_lora_rank"], MINI["qk_nope_head_dim"], MINI["qk_rope_head_dim"]
    o = layer.o.view(hidden, HEADS, HEAD)
    strength = o.norm(dim=(0, 2)).view(KV_HEADS, -1)
    heads = (strength.topk(2, 1).indices + torch.arange(KV_HEADS)[:, None] * (HEADS // KV_HEADS)).flatten()
    # Pairs turn slower the higher their index: the slowest 24 of 32 carry content rather than position.
    slow = torch.cat((torch.arange(8, 32), torch.arange(40, 64)))
    q = layer.q.view(HEADS, HEAD, hidden)[heads][:, slow]
    k = layer.k.view(KV_HEADS, HEAD, hidden)[:, slow]
    v = layer.v.view(KV_HEADS, HEAD, hidden)
    stacked = torch.cat((k.flatten(0, 1), v.flatten(0, 1)))
    root = torch.linalg.cholesky(x.T @ x / len(x) + 1e-4 * torch.eye(hidden))
    u, s, vh = torch.linalg.svd(stacked @ root, full_matrices=False)
    down = torch.linalg.solve_triangular(root, (s[:rank, None].sqrt() * vh[:rank]), upper=False, left=False)
    up = u[:, :rank] * s[:rank].sqrt()
    size = F.linear(x, down).square().mean(1).sqrt().mean()
    up_k, up_v = up[: k.shape[0] * nope].view(KV_HEADS, nope, rank), up[k.shape[0] * nope:].view(KV_HEADS, HEAD, rank)
    kv_b = torch.cat((up_k, up_v), 1).repeat_interleave(2, 0).reshape(-1, rank)
    q = torch.cat((q, torch.zeros(len(heads), shared, hidden)), 1).reshape(-1, hidden)
    return {
        "q_proj": q, "kv_a_proj_with_mqa": torch.cat((down, layer.k[:shared])), "kv_b_proj": kv_b,
        "kv_a_layernorm": torch.ones(rank) * size, "o_proj": o[:, heads].reshape(hidden, -1) * 1.2,
    }


def part_neurons(layer: Any, x: Tensor) -> dict[str, Tensor]:
    """Feed-forward weights reordered as [shared | expert 0 | expert 1 | ...], and a router. x [T, C]: normed inputs."""
    act = F.silu(F.linear(x, layer.gate)) * F.linear(x, layer.up)
    force = act.abs() * layer.down.norm(dim=0)
    order = force.mean(0).argsort(descending=True)
    shared_size = MINI["num_shared_experts"] * MINI["moe_intermediate_size"]
    shared, rest = order[:shared_size], order[shared_size:]
    groups = group_evenly(force[:, rest].T, MINI["num_experts"])
    members = [rest[groups == e] for e in range(MINI["num_experts"])]
    energy = torch.stack([F.linear(act[:, m], layer.down[:, m]).norm(dim=1) for m in members], 1)
    target = (energy - energy.mean(0)) / energy.std(0)
    gram = x.T @ x + 10.0 * len(x) / x.shape[1] * torch.eye(x.shape[1])
    router = torch.linalg.solve(gram, x.T @ target).T
    index = torch.cat([shared, *members])
    return {"gate": layer.gate[index], "up": layer.up[index], "down": layer.down[:, index], "router": router}


def group_evenly(features: Tensor, groups: int, rounds: int = 8) -> Tensor:
    """Balanced spherical k-means: features [N, F] -> group of each row, all groups of size N / groups."""
    features = F.normalize(features - features.mean(1, keepdim=True), dim=1)
    size = len(features) // groups
    centres = features[torch.linspace(0, len(features) - 1, groups).long()]
    label = torch.zeros(len(features), dtype=torch.long)
    for _ in range(rounds):
        score = features @ centres.T
        room, table = [size] * groups, score.tolist()
        margin = score.topk(2, 1).values
        for row in (margin[:, 0] - margin[:, 1]).argsort(descending=True).tolist():
            best = max((g for g in range(groups) if room[g]), key=table[row].__getitem__)
            label[row], room[best] = best, room[best] - 1
        centres = F.normalize(torch.stack([features[label == g].mean(0) for g in range(groups)]), dim=1)
    return label


@torch.no_grad()
def convert(teacher: Teacher, ids: Tensor, pack: Pack, dropped: tuple[int, ...], seed: int = 0) -> Student:
    """The untrained student (float32, CPU). ids [T]: a little text on which neurons and latents are measured."""
    generator = torch.Generator().manual_seed(seed)
    student = Student(MINI)
    states = teacher.hidden_states(ids, pack)
    for n, (first, _) in enumerate(spans(dropped, len(teacher.layers))):
        source, layer, x = teacher.layers[first], student.layers[n], states[first]
        q, k, v = source.project(x, *rotation(pack.position, x))
        heads = attend(q, k, v, pack, HEAD ** -0.5)
        normed = F.rms_norm(x, x.shape[-1:], source.input_norm, EPS)
        if hasattr(layer.attention, "A_log"):
            _fill(layer.attention, kda_from(source, generator))
            layer.attention.o_norm.fill_(2 * float(heads.square().mean().sqrt()))
        else:
            _fill(layer.attention, mla_from(source, normed))
        middle = x + F.linear(heads.flatten(1), source.o)
        post = F.rms_norm(middle, x.shape[-1:], source.post_norm, EPS)
        _fill(layer.mlp, part_neurons(source, post) if layer.mlp.experts else {
            name: getattr(source, name) for name in ("gate", "up", "down")})
        layer.input_norm.copy_(source.input_norm)
        layer.post_norm.copy_(source.post_norm)
    student.embed.copy_(teacher.embed)
    student.norm.copy_(teacher.norm)
    return student


def _fill(module: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    for name, value in weights.items():
        getattr(module, name).copy_(value)
