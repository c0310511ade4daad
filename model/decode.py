"""Decoding by Triton's kernels: the whole step over buffers that never move, so that one CUDA graph replays it.

From the token ids to the next ones nothing in a step waits for the host, and no shape follows from a length: lengths
and the addresses of pages are read on the device. So a graph serves rows of any lengths, and states that come and go.

The latents of a row stay in the pages of its state. Pages that all rows have in common (the document they go on from)
are read once a step for all of them; the others are a row's own, and a new one is made when the last is full. KDA
states are moved into the buffers, and back when a row's state is asked for.

A graph is for a number of rows. Of those in between, the places without a row repeat the first one: they read the same
pages and experts as it does, and write the same numbers to the same places.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import norm
from kernels.linear import linear
from model import state as layout
from model.errors import device_errors
from model.kda import KDA
from model.mla import LATENT_EPS, MLA
from model.moe import MoE, comes_apart
from model.sampling import Next
from model.state import KDAState, MLAState, ModelState
from model.transformer import Layer, Transformer

ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Numbers of rows that graphs are made for; beyond, multiples of the last."""

FEW = 8
"""Rows up to which a layer's second norm and its router's scores are one launch, in which every program norms all rows,
and up to which a step's kernels do more before the ones in front have ended, at the cost of registers: measured faster
with 1 and with 8 rows, slower kernel by kernel with 64."""

PROGRAMS = 264
"""Programs at most that the attention over one layer's pages is split into: a multiprocessor of a Hopper GPU, of which
there are 132, holds one at a time, so they take two turns."""


@dataclass(frozen=True)
class KDARows:
    """conv [B, W-1, C] and recurrent float32 [B, H, K, V] of B rows."""

    conv: Tensor
    recurrent: Tensor


@dataclass(frozen=True)
class MLAPages:
    """Addresses of pages, int64: those of each row [B, N], and those that all rows share [1, N]."""

    own: Tensor
    shared: Tensor


class Slots:
    """Buffers for up to `capacity` rows, and the graphs over them. For one generation at a time."""

    def __init__(self, model: Transformer, capacity: int) -> None:
        config, device, dtype = model.config, model.norm.device, model.norm.dtype
        self.model, self.capacity = model, capacity
        self.ids = torch.zeros(capacity, dtype=torch.int64, device=device)
        self.logits = torch.zeros(capacity, config.vocab_size, device=device)
        self.own = torch.zeros(capacity, dtype=torch.int32, device=device)
        self.shared = torch.zeros(1, dtype=torch.int32, device=device)
        self.numbers = torch.arange(capacity, dtype=torch.int32, device=device)
        pages = -(-config.max_length // layout.PAGE) + 1
        self.layers: list[KDARows | MLAPages] = []
        for n in range(config.layers):
            if n in config.mla_layers:
                own, shared = (torch.zeros(rows, pages, dtype=torch.int64, device=device) for rows in (capacity, 1))
                self.layers.append(MLAPages(own, shared))
            else:
                conv = torch.zeros(capacity, config.conv_taps - 1, 3 * config.kda_channels, dtype=dtype, device=device)
                shape = (capacity, config.kda_heads, config.kda_dim, config.kda_dim)
                self.layers.append(KDARows(conv, torch.zeros(shape, device=device)))
        self._states: list[ModelState] = []
        self._written = 0  # tokens that every state has in its pages and does not count yet
        self._room = 0  # tokens until a row's last page is full
        self._likeliest: list[int] = []  # what stands in `ids`
        self._graphs: dict[int, torch.cuda.CUDAGraph | None] = {}
        self._capturing = device.type == "cuda"
        self._pool = torch.cuda.graph_pool_handle() if self._capturing else None

    @device_errors()
    def take(self, states: Sequence[ModelState]) -> None:
        """Go on from these, one a row; they are the slots' own until they are settled."""
        self._states, self._written = list(states), 0
        for n, rows in enumerate(self.layers):
            if isinstance(rows, KDARows):
                kept = [state.layers[n] for state in self._padded]
                kda = [layer for layer in kept if isinstance(layer, KDAState)]
                torch.stack([layer.conv for layer in kda], out=rows.conv[: len(kda)])
                torch.stack([layer.recurrent for layer in kda], out=rows.recurrent[: len(kda)])
                for place, layer in enumerate(kda[: len(states)]):  # what they held is free now
                    layer.conv, layer.recurrent = rows.conv[place], rows.recurrent[place]
        self._lay_out()

    @device_errors()
    def step(self, tokens: Sequence[int]) -> Next:
        """Read a token into every row."""
        if not self._room:
            self._count()
            self._lay_out()
        rows = bucket(len(tokens))
        if list(tokens) != self._likeliest:  # else they are where the last step put them
            self.ids[:rows] = torch.tensor([*tokens, *[tokens[0]] * (rows - len(tokens))])
        self._run(rows)
        self._written += 1
        self._room -= 1
        self._likeliest = self.ids[: len(tokens)].tolist()
        return Next(self.logits[: len(tokens)], self._likeliest)

    @device_errors()
    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these; they are numbered anew in this order."""
        self._count()
        self._states = [self._states[row] for row in rows]
        chosen = torch.tensor([*rows, *[rows[0]] * (bucket(len(rows)) - len(rows))], device=self.ids.device)
        for layer in self.layers:
            if isinstance(layer, KDARows):
                for buffer in (layer.conv, layer.recurrent):
                    buffer[: len(chosen)] = buffer[chosen]
        self._lay_out()

    @device_errors()
    def settle(self) -> None:
        """Bring the states that were taken, and not dropped, to where the rows are now."""
        self._count()
        for row, state in enumerate(self._states):
            for layer, rows in zip(state.layers, self.layers, strict=True):
                if isinstance(layer, KDAState) and isinstance(rows, KDARows):
                    layer.conv, layer.recurrent = rows.conv[row].clone(), rows.recurrent[row].clone()
        self._states = []

    @property
    def _padded(self) -> list[ModelState]:
        """The states by their places: behind the last the first again."""
        return [*self._states, *[self._states[0]] * (bucket(len(self._states)) - len(self._states))]

    def _count(self) -> None:
        """Have the states count the tokens that their pages hold."""
        for state in self._states:
            state.tokens += self._written
            for layer in state.layers:
                if isinstance(layer, MLAState):
                    layer.count(self._written)
        self._written = 0

    def _lay_out(self) -> None:
        """Make room for a token more, and write down where pages are and how far they are filled."""
        states = self._padded
        common = _pages_in_common(self._states)
        for n, layer in enumerate(self.layers):
            if isinstance(layer, MLAPages):
                found = [_addresses(state.layers[n]) for state in states]
                most = max(map(len, found)) - common
                table = torch.tensor([row[common:] + [0] * (most + common - len(row)) for row in found])
                layer.own[: len(states), :most] = table
                layer.shared[0, :common] = torch.tensor(found[0][:common], dtype=torch.int64)
        self.own[: len(states)] = torch.tensor([state.tokens - common * layout.PAGE for state in states])
        self.shared[0] = common * layout.PAGE
        self._room = min(layout.PAGE - state.tokens % layout.PAGE for state in states)
        self._likeliest = []

    def _run(self, rows: int) -> None:
        """A step of so many rows. The first one compiles what there is to compile, the next is captured."""
        if rows not in self._graphs:
            self._graphs[rows] = None
        elif self._graphs[rows] is None and self._capturing:
            self._graphs[rows] = self._capture(rows)
        graph = self._graphs[rows]
        if graph is None:
            self._step(rows)
        else:
            graph.replay()

    def _capture(self, rows: int) -> torch.cuda.CUDAGraph | None:
        """The graph of a step; None, and a line in the log, where it cannot be had: then kernels go one by one."""
        # This thread may never have multiplied anything, and cuBLAS cannot set itself up while a graph is captured.
        torch.mm(self.logits[:1, :16].t(), self.logits[:1, :16])
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                self._step(rows)
        except RuntimeError as error:
            self._capturing = False
            reason = str(error).splitlines()[0]
            logging.getLogger(__name__).warning("no CUDA graph for %d rows, decoding is slower: %s", rows, reason)
            return None
        return graph

    def _step(self, rows: int) -> None:
        """One token for every row: from `ids` to `logits` and the likeliest tokens, in `ids`."""
        model = self.model
        self.own[:rows] += 1
        x = F.embedding(self.ids[:rows], model.embedding)
        layers = [layer for layer in model.layers if isinstance(layer, Layer)]
        given = norm.rms_norm(x, layers[0].attention_norm, model.config.eps)
        after = [*(layer.attention_norm for layer in layers[1:]), model.norm]
        for layer, kept, following in zip(layers, self.layers, after, strict=True):
            if isinstance(kept, KDARows):
                assert isinstance(layer.attention, KDA)
                attended = _kda(layer.attention, given, kept)
            else:
                assert isinstance(layer.attention, MLA)
                attended = self._mla(layer.attention, given, kept)
            x, given = _fed(layer, x, attended, following)
        self.logits[:rows] = linear(given, model.head)  # in float32 from here on, as `Transformer.logits` has them
        torch.argmax(self.logits[:rows], -1, out=self.ids[:rows])

    def _mla(self, layer: MLA, x: Tensor, pages: MLAPages) -> Tensor:
        """`MLA.forward` for one token of each row, x [B, D] -> [B, D]."""
        from kernels.mla_absorb_triton import absorb, unabsorb
        from kernels.mla_append_triton import append
        from kernels.mla_decode_triton import SPLITS, Span, attend_spans

        rows = x.shape[0]
        up = layer.up.unflatten(0, (layer.heads, -1))
        q = linear(x, layer.query).unflatten(-1, (layer.heads, layer.width))
        own, lengths, numbers = pages.own[:rows], self.own[:rows], self.numbers[:rows]
        append(linear(x, layer.down), layer.latent_norm, LATENT_EPS, own, lengths, layout.PAGE)
        spans = [Span(own, lengths, numbers[:, None], layout.PAGE)]
        if rows > 1:
            spans.append(Span(pages.shared, self.shared, numbers[None], layout.PAGE))
        parts = min(SPLITS, split(rows))
        q = absorb(q, up, layer.nope)
        o, _ = attend_spans(q, spans, layer.rank, layer.scale, parts, most=parts, settled=rows <= FEW)
        return linear(unabsorb(o, up, layer.nope), layer.output)


def _kda(layer: KDA, x: Tensor, rows: KDARows) -> Tensor:
    """`KDA.forward` for one token of each row, x [B, D] -> [B, D]."""
    count = x.shape[0]
    # What wrote the states ended before this step began: the kernels that look ids up start when all else is done.
    kept = rows.conv[:count], rows.recurrent[:count]
    o, _, _ = layer.step(*layer.project(x), *kept, in_place=True, settled=count <= FEW)
    return layer.join(o)


def _fed(layer: Layer, x: Tensor, attended: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """x plus what the layer attended to and its feed-forward half of that, and its norm for what is `following`. The
    results of a few rows' experts are added up there."""
    feed = layer.feed_forward
    if isinstance(feed, MoE) and comes_apart(x):
        from kernels.norm_triton import add_results_rms_norm

        if x.shape[0] <= FEW:
            x, results = feed.after(x, attended, layer.feed_forward_norm, layer.eps)
        else:
            x, given = norm.add_rms_norm(x, attended, layer.feed_forward_norm, layer.eps)
            results = feed(given, apart=True)
        return add_results_rms_norm(x, results, feed.top_k, following, layer.eps)
    x, given = norm.add_rms_norm(x, attended, layer.feed_forward_norm, layer.eps)
    return norm.add_rms_norm(x, feed(given), following, layer.eps)


class Desk:
    """Lends slots to whoever generates: each generation has its own until it ends, and then the next may."""

    def __init__(self) -> None:
        self._free: list[Slots] = []
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, model: Transformer, states: Sequence[ModelState]) -> Iterator[Slots]:
        """Slots of the model, the same each time, with these states taken."""
        capacity = bucket(len(states))
        with self._lock:
            fitting = [slots for slots in self._free if slots.capacity >= capacity]
            slots = min(fitting, key=lambda each: each.capacity, default=None)
            if slots is not None:
                self._free.remove(slots)
        slots = slots or Slots(model, capacity)
        slots.take(states)
        try:
            yield slots
        finally:
            slots._states = []
            with self._lock:
                self._free.append(slots)


def bucket(rows: int) -> int:
    """The number of rows that a graph is made for, to hold `rows`."""
    return next((most for most in ROWS if rows <= most), -(-rows // ROWS[-1]) * ROWS[-1])


def split(rows: int) -> int:
    """Parts of a row's pages in a step of so many rows. One program beyond PROGRAMS is a turn more for all of them."""
    return max(1, PROGRAMS // rows)


def _pages_in_common(states: Sequence[ModelState]) -> int:
    """How many full pages all states begin with, in every layer; 0 for a state alone, whose pages are all its own."""
    if len(states) == 1:
        return 0
    full = min(state.tokens for state in states) // layout.PAGE
    for n, first in enumerate(states[0].layers):
        if isinstance(first, MLAState):
            found = [_addresses(state.layers[n])[:full] for state in states]
            full = next((page for page in range(full) if any(row[page] != found[0][page] for row in found)), full)
    return full


def _addresses(layer: KDAState | MLAState) -> list[int]:
    """Where a layer's pages are, with room for a token more."""
    assert isinstance(layer, MLAState)
    return [page.data_ptr() for page in layer.make_room()]
