"""One continuation of a state, token by token, by Numba's kernels: on a processor, with matrices on stored grids.

A step is two calls a layer over arrays that stay where they are. The residual stream is float32 throughout. The kernels
are compiled when they are first called, for some ten seconds; `python -m model.single` does that beforehand.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from kernels import kda_decode_numba, mla_decode_numba, moe_numba
from kernels.kda_decode_numba import KDAWeights
from kernels.kda_prefill import MANY as MANY_READ
from kernels.linear import Weight
from kernels.linear_numba import Stored, given, rms_norm, times
from kernels.mla_decode_numba import MLAWeights
from kernels.moe_numba import DenseWeights, MoEWeights
from kernels.numbers_numba import bits, is_compiled
from model import state as layout
from model.kda import KDA
from model.mla import LATENT_EPS, MLA
from model.moe import MoE, SwiGLU
from model.sampling import Next
from model.state import KDAState, MLAState, ModelState
from model.transformer import Layer, Transformer

MANY = 4
"""Pages of latents from which on a second thread takes half of them: it begins after some 50 us, a page takes 200."""

_ARRAYS: WeakKeyDictionary[Transformer, Arrays | None] = WeakKeyDictionary()

_BESIDE = ThreadPoolExecutor(1, "latents")


class Arrays:
    """A model's weights as the kernels take them. Raises ValueError where a large matrix is not held as stored."""

    def __init__(self, model: Transformer) -> None:
        layers = [layer for layer in model.layers if isinstance(layer, Layer)]
        self.attention = [_attention(layer) for layer in layers]
        self.feed_forward = [_feed_forward(layer) for layer in layers]
        self.embedding, self.head = model.embedding, _stored(model.head)
        self.norm, self.eps = _float(model.norm), np.float32(model.config.eps)


def of(model: Transformer, state: ModelState) -> Single | None:
    """One continuation of a state, or None where the kernels cannot take the model's matrices."""
    if model not in _ARRAYS:
        if not is_compiled():
            logging.getLogger(__name__).info("the processor's kernels are compiled, once: that takes some ten seconds")
        try:
            _ARRAYS[model] = Arrays(model)
        except ValueError:
            _ARRAYS[model] = None
    arrays = _ARRAYS[model]
    return Single(arrays, state) if arrays else None


class Single:
    """One continuation of a state, which is seen to have moved on once it is settled."""

    def __init__(self, arrays: Arrays, state: ModelState) -> None:
        self._arrays, self._state = arrays, state
        self._kda = {n: (bits(layer.conv.clone()), layer.recurrent.clone().numpy())
                     for n, layer in enumerate(state.layers) if isinstance(layer, KDAState)}
        self._pages: dict[int, list[np.ndarray]] = {n: [] for n in range(len(state.layers)) if n not in self._kda}

    def step(self, tokens: Sequence[int]) -> Next:
        """Read the one token."""
        arrays = self._arrays
        x = arrays.embedding[tokens[0]].to(torch.float32, copy=True).numpy()  # it is changed in place
        for n, (attention, feed_forward) in enumerate(zip(arrays.attention, arrays.feed_forward, strict=True)):
            if isinstance(attention, MLAWeights):
                self._attend(x, attention, n)
            else:
                kda_decode_numba.layer(x, attention, *self._kda[n])
            if isinstance(feed_forward, MoEWeights):
                moe_numba.layer(x, feed_forward)
            else:
                moe_numba.dense_layer(x, feed_forward)
        self._state.tokens += 1
        logits = np.empty(len(arrays.head.scale), np.float32)
        times(arrays.head, given(rms_norm(x, arrays.norm, arrays.eps)), logits)
        return Next.of(torch.from_numpy(logits)[None])

    def settle(self) -> None:
        """Have the state be where the last step led."""
        for n, (conv, recurrent) in self._kda.items():
            layer = self._state.layers[n]
            assert isinstance(layer, KDAState)
            layer.conv = torch.from_numpy(conv).view(layer.conv.dtype)
            layer.recurrent = torch.from_numpy(recurrent)

    def _attend(self, x: np.ndarray, weights: MLAWeights, n: int) -> None:
        """The MLA layer of number n: its latent goes into its page before it is asked for."""
        state, pages = self._state.layers[n], self._pages[n]
        assert isinstance(state, MLAState)
        pages += map(bits, state.make_room()[len(pages) :])
        q = mla_decode_numba.begin(x, weights, pages[-1][state.tokens % layout.PAGE])
        state.count(1)
        filled = [page[: state.tokens - number * layout.PAGE] for number, page in enumerate(pages)]
        half, rank = len(filled) // 2 if len(filled) >= MANY else 0, weights.up.shape[2]
        beside = _BESIDE.submit(_attended, q, filled[:half], rank) if half and torch.get_num_threads() > 1 else None
        found = _attended(q, filled[half:], rank)
        if half:  # the same numbers with one thread
            mla_decode_numba.join(*found, *(beside.result() if beside else _attended(q, filled[:half], rank)))
        mla_decode_numba.finish(x, weights, *found[1:])


def _attended(q: np.ndarray, pages: Sequence[np.ndarray], rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What queries [H, R+P] find in some pages; see `mla_decode_numba.attend`."""
    best, total = np.full(len(q), -np.inf, np.float32), np.zeros(len(q), np.float32)
    o = np.zeros((len(q), rank), np.float32)
    for page in pages:
        mla_decode_numba.attend(q, page, best, total, o)
    return best, total, o


def _attention(layer: Layer) -> KDAWeights | MLAWeights:
    before, eps, own = _float(layer.attention_norm), np.float32(layer.eps), layer.attention
    if isinstance(own, MLA):
        up = _float(own.up).reshape(own.heads, -1, own.rank)
        return MLAWeights(
            before, _stored(own.query), _stored(own.down), _float(own.latent_norm), np.float32(LATENT_EPS), up,
            _stored(own.output), own.nope, np.float32(own.scale), eps,
        )  # fmt: skip
    assert isinstance(own, KDA)
    stored = _stored(own.input, whole=False)
    if len(stored.scale) != len(own.input) - own.heads:
        raise ValueError("of what reads a KDA layer's input all but beta is to be stored on grids")
    rest = _float(own.input[-own.heads :])
    conv, rate = np.ascontiguousarray(_float(own.conv).T), _float(-own.a_log.exp())
    return KDAWeights(before, stored, rest, _float(own.decay_up), _float(own.gate_up), conv, rate, _float(own.dt_bias),
                      _float(own.norm), _stored(own.output), eps)


def _feed_forward(layer: Layer) -> MoEWeights | DenseWeights:
    before, eps, own = _float(layer.feed_forward_norm), np.float32(layer.eps), layer.feed_forward
    if isinstance(own, SwiGLU):
        return DenseWeights(before, _stored(own.gate_up), _stored(own.down), eps)
    assert isinstance(own, MoE)
    return MoEWeights(
        before, _float(own.router), _float(own.bias), _stored(own.gate_up), _stored(own.down),
        _stored(own.shared.gate_up), _stored(own.shared.down), own.top_k, own.renormalize, own.scaling, eps,
    )  # fmt: skip


def _stored(weight: object, whole: bool = True) -> Stored:
    found = weight.stored if isinstance(weight, Weight) else None
    if found is None or (isinstance(weight, Weight) and whole and found.scale.shape[-2] != weight.shape[-2]):
        raise ValueError("a matrix is not held as it was stored")
    return found


def _float(x: Tensor) -> np.ndarray:
    return x.detach().float().contiguous().numpy()


def main() -> None:
    """Have the kernels compiled: a token of `mini`, near and far into a document, and as many tokens as it reads."""
    from model.engine import Engine

    for dtype in (torch.bfloat16, torch.float32):
        engine = Engine.load(Path(__file__).with_name("mini"), dtype=dtype)
        row = of(engine.model, engine.empty())
        assert row is not None
        row.step([0])
        engine.read(engine.empty(), [0] * MANY_READ)
        one = _attended(np.zeros((1, 8), np.float32), [], 1)
        mla_decode_numba.join(*one, *one)


if __name__ == "__main__":
    main()
