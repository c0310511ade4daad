"""Several continuations of one state, token by token side by side: many questions over one document.

Every matrix meets the tokens of all rows at once, and the pages of the state they share are read once a step for all of
them. A row's own are its KDA states, which a step takes for so many more heads, and the latents of its own tokens.
Rows may differ in length; one that has ended is dropped. This is the plain form; a few rows are faster as `Singles`,
each by itself, where a processor has kernels of its own, and `decode` has the form of Triton's kernels.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from threading import Thread
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import backend, conv, kda, mla, norm
from kernels.linear import Weight, linear
from model.errors import device_errors
from model.kda import KDA
from model.mla import MLA
from model.sampling import Next
from model.state import KDAState, MLAState, ModelState
from model.transformer import Layer, Transformer

if TYPE_CHECKING:
    from model.single import Single

FEW = 8
"""Up to so many rows are faster each by itself, by a processor's own kernels, than side by side: on two cores with AMX
a step of eight takes 48 ms instead of 70 behind 2,048 tokens and 80 instead of 83 behind 20,000, of four 27 instead of
63 and 42 instead of 73, of one 16 instead of 50 and 16 instead of 59 (2026-11-28)."""


@dataclass
class KDARows:
    """KDA states of B rows. conv [B, W-1, C], recurrent float32 [B, H, K, V]."""

    conv: Tensor
    recurrent: Tensor


@dataclass
class MLARows:
    """Latents of B rows: `shared` by all, then each row's own [B, room, R+P], filled as far as the row is long."""

    shared: MLAState
    own: Tensor


class Alone:
    """One continuation of a state, which is changed."""

    def __init__(self, model: Transformer, state: ModelState) -> None:
        self._model, self._state = model, state

    def step(self, tokens: Sequence[int]) -> Next:
        """Read the one token."""
        return Next.of(self._model.logits(self._model(_ids(self._model, tokens), self._state)))

    def settle(self) -> None:
        """Nothing to do: the state is what it is after every step."""


def alone(model: Transformer, state: ModelState) -> "Alone | Single":
    """One continuation of a state, which is changed, in the fastest form there is for its processor and matrices."""
    if backend.has_numba():
        from model import single

        if row := single.of(model, state):
            return row
    return Alone(model, state)


def warm(model: Transformer, state: ModelState) -> None:
    """Have what `alone` needs be there when it is asked for, in a thread of its own, by a step from a state that nobody
    needs: Numba takes half a second to come and to bring its kernels. For a process that stays; one that answers a
    single question needs the processor for that, and these kernels only if it writes."""
    if isinstance(model.head, Weight) and model.head.is_stored:
        Thread(target=lambda: alone(model, state).step([0]), name="warm").start()


class Singles:
    """B continuations of one state, each by itself, as many at once as PyTorch has threads."""

    def __init__(self, rows: Sequence["Alone | Single"]) -> None:
        self._rows = list(rows)
        self._threads = ThreadPoolExecutor(torch.get_num_threads(), "rows")

    def step(self, tokens: Sequence[int]) -> Next:
        """Read a token into every row."""
        return Next.of(torch.cat(list(self._threads.map(_logits, self._rows, tokens))))

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these; they are numbered anew in this order."""
        self._rows = [self._rows[row] for row in rows]


@torch.no_grad()  # which holds for one thread only
def _logits(row: "Alone | Single", token: int) -> Tensor:
    """What follows a row, float32 [1, vocabulary], once it has read a token."""
    return row.step([token]).logits


def several(model: Transformer, shared: ModelState, states: Sequence[ModelState], room: int) -> "Rows | Singles":
    """Continuations of `states`, which went on from `shared` and may take `room` tokens more each, as `Rows` of it, or
    each by itself where these are few enough for that to be faster."""
    if len(states) <= FEW:
        rows = [alone(model, state) for state in states]
        if not any(isinstance(row, Alone) for row in rows):
            return Singles(rows)
    return Rows(model, shared, states, room)


class Rows:
    """B continuations of one state."""

    def __init__(self, model: Transformer, shared: ModelState, states: Sequence[ModelState], room: int) -> None:
        """`states` went on from `shared`, by at least a token each; every row may take `room` tokens more."""
        self._model = model
        lengths = [state.tokens - shared.tokens for state in states]
        self.lengths = torch.tensor(lengths)
        self.layers: list[KDARows | MLARows] = []
        for n, before in enumerate(shared.layers):
            after = [state.layers[n] for state in states]
            if isinstance(before, MLAState):
                self.layers.append(MLARows(before, _own(before, after, max(lengths) + room)))
            else:
                kept = [layer for layer in after if isinstance(layer, KDAState)]
                stacked = (torch.stack([getattr(layer, name) for layer in kept]) for name in ("conv", "recurrent"))
                self.layers.append(KDARows(*stacked))

    def step(self, tokens: Sequence[int]) -> Next:
        """Read a token into every row."""
        return Next.of(self._model.logits(_step(self._model, _ids(self._model, tokens), self)))

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these; they are numbered anew in this order."""
        chosen = torch.tensor(rows, dtype=torch.int64)
        self.lengths = self.lengths[chosen]
        for layer in self.layers:
            if isinstance(layer, MLARows):
                layer.own = layer.own[chosen]
            else:
                layer.conv, layer.recurrent = layer.conv[chosen], layer.recurrent[chosen]


@device_errors()
def read(
    model: Transformer, questions: Sequence[Tensor], shared: ModelState, states: Sequence[ModelState],
    since: Sequence[int] | None = None, keep: bool = True,
) -> Tensor:
    """Read a question into each of `states`, which went on from `shared` by any number of tokens.

    questions: int64 [T] of any lengths. keep: the states move on; otherwise they stay as they are, and may be the same.
    Returns the hidden states [N, D] of their tokens, one question's behind the other's; of each from token `since` on,
    by default of all.
    """
    spans = _spans([question.shape[0] for question in questions])
    tails = [slice(s.start + first, s.stop) for s, first in zip(spans, since or [0] * len(spans), strict=True)]
    x = F.embedding(torch.cat(list(questions)), model.embedding)
    for n, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        given = norm.rms_norm(x, layer.attention_norm, layer.eps)
        before, own = shared.layers[n], [state.layers[n] for state in states]
        wanted = tails if n + 1 == len(model.layers) else spans
        if isinstance(before, MLAState):
            assert isinstance(layer.attention, MLA)
            kept = [s for s in own if isinstance(s, MLAState)]
            attended = _read_mla(layer.attention, given, before, kept, spans, wanted, keep)
        else:
            assert isinstance(layer.attention, KDA)
            attended = _read_kda(layer.attention, given, [s for s in own if isinstance(s, KDAState)], spans, keep)
            attended = _rows(attended, wanted)
        x = _rows(x, wanted) + attended
        x = x + layer.feed_forward(norm.rms_norm(x, layer.feed_forward_norm, layer.eps))
    for state, question in zip(states, questions, strict=True):
        state.tokens += question.shape[0] if keep else 0
    return norm.rms_norm(x, model.norm, model.config.eps)


def _spans(lengths: Sequence[int]) -> list[slice]:
    """Where stretches of these lengths stand, one behind the other."""
    ends = accumulate(lengths)
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def _rows(x: Tensor, spans: Sequence[slice]) -> Tensor:
    """Stretches of x [N, D], one behind the other."""
    return x if sum(s.stop - s.start for s in spans) == x.shape[0] else torch.cat([x[span] for span in spans])


def _ids(model: Transformer, tokens: Sequence[int]) -> Tensor:
    return torch.tensor(tokens, dtype=torch.int64, device=model.norm.device)


def _step(model: Transformer, ids: Tensor, rows: Rows) -> Tensor:
    """One token for every row: ids int64 [B] -> hidden [B, D] after the final norm; every row is a token longer."""
    x = F.embedding(ids, model.embedding)
    seen = (rows.lengths + 1).to(x.device)
    for layer, own in zip(model.layers, rows.layers, strict=True):
        assert isinstance(layer, Layer)
        given = norm.rms_norm(x, layer.attention_norm, layer.eps)
        if isinstance(own, MLARows):
            assert isinstance(layer.attention, MLA)
            x = x + _mla(layer.attention, given, own, seen)
        else:
            assert isinstance(layer.attention, KDA)
            x = x + _kda(layer.attention, given, own)
        x = x + layer.feed_forward(norm.rms_norm(x, layer.feed_forward_norm, layer.eps))
    rows.lengths += 1
    return norm.rms_norm(x, model.norm, model.config.eps)


def _kda(layer: KDA, x: Tensor, rows: KDARows) -> Tensor:
    """`KDA.forward` for one token of each row, x [B, D] -> [B, D]: B rows of H heads are one row of B * H heads."""
    count = x.shape[0]
    qkv, decay, gate, beta = linear(x, layer.input).split(layer.sizes, -1)
    tails = rows.conv.transpose(0, 1).flatten(1)  # [W-1, B * C]: rows are so many more channels
    y, tail = conv.short_conv(qkv.reshape(1, -1), layer.conv.repeat(count, 1), tails)
    rows.conv = tail.unflatten(1, (count, -1)).transpose(0, 1).contiguous()
    q, k, v = y.view(count, 3, layer.heads, layer.dim).unbind(1)  # each [B, H, K]
    bias = layer.dt_bias.view(layer.heads, layer.dim)
    g = kda.gate(linear(decay, layer.decay_up).view_as(q), layer.a_log, bias)
    q = norm.l2_norm(q) * layer.dim**-0.5
    parts = (q, norm.l2_norm(k), v, g, torch.sigmoid(beta.float()))
    q, k, v, g, beta = (part.flatten(0, 1)[None] for part in parts)  # [1, B * H, .]
    o, recurrent = kda.recurrent(q, k, v, g, beta, rows.recurrent.flatten(0, 1))
    rows.recurrent = recurrent.view_as(rows.recurrent)
    o, gate = (part.view(count, layer.heads, layer.dim) for part in (o, linear(gate, layer.gate_up)))
    return linear(norm.gated_rms_norm(o, gate, layer.norm, layer.eps).flatten(1), layer.output)


def _mla(layer: MLA, x: Tensor, rows: MLARows, seen: Tensor) -> Tensor:
    """`MLA.forward` for one token of each row, x [B, D] -> [B, D]; a row sees `seen` [B] latents of its own."""
    q, latents, up = layer.project(x)
    rows.own[torch.arange(x.shape[0], device=x.device), seen - 1] = latents

    absorbed = mla.absorb(q, up, layer.nope)
    pages, own = list(rows.shared.pages()), rows.own[:, : int(seen.max())]
    o, _ = mla.attend_batch(absorbed, pages, own, seen, layer.rank, layer.scale)
    return layer.join(mla.unabsorb(o, up, layer.nope), x.dtype)


def _read_kda(layer: KDA, x: Tensor, states: Sequence[KDAState], spans: Sequence[slice], keep: bool) -> Tensor:
    """`KDA.forward` for the tokens of every row, x [N, D] -> [N, D]: all of them meet the matrices at once."""
    qkv, raw, gate, beta = layer.project(x)
    outs = [
        layer.read(qkv[span], raw[span], gate[span], beta[span], state if keep else replace(state))
        for span, state in zip(spans, states, strict=True)
    ]
    return layer.join(torch.cat(outs))


def _read_mla(
    layer: MLA, x: Tensor, shared: MLAState, states: Sequence[MLAState], spans: Sequence[slice],
    wanted: Sequence[slice], keep: bool,
) -> Tensor:
    """`MLA.forward` for the tokens of every row, x [N, D] -> [M, D], of those `wanted`, the ends of `spans`: all of
    them meet the shared pages at once."""
    q, latents, up = layer.project(x)
    q = _rows(q.transpose(0, 1), wanted).transpose(0, 1)
    past = layer.attend_past(q, up, list(shared.pages()))
    outs = []
    for state, span, place in zip(states, spans, _spans([s.stop - s.start for s in wanted]), strict=True):
        shared_past = (past[0][:, place], past[1][:, place]) if past else None
        own = torch.cat([state.rows(shared.tokens), latents[span]])
        outs.append(layer.attend_new(q[:, place], own, up, shared_past))
        if keep:
            state.append(latents[span])
    return layer.join(torch.cat(outs, 1), x.dtype)


def _own(before: MLAState, after: Sequence[KDAState | MLAState], room: int) -> Tensor:
    """The latents that each of `after` has and `before` has not, [B, room, R+P], zeros behind them."""
    own = [layer.rows(before.tokens) for layer in after if isinstance(layer, MLAState)]
    tensor = own[0].new_zeros(len(own), room, own[0].shape[1])
    for row, latents in zip(tensor, own, strict=True):
        row[: latents.shape[0]] = latents
    return tensor
