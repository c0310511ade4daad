"""The whole engine at the 48B shape: reading, writing, many questions over one document, where time goes, memory.

Weights are the synthetic ones; experts used stand beside the figures, since routing onto a few of them would flatter
every one. Rows come in the order of their weight, each as soon as it is measured; `--parts` takes some, in that order.
Off a GPU it is a dry run at tiny sizes: every line of it runs, and nothing is measured.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import cast

import torch
from torch import Tensor

from kernels.moe import route
from kernels.norm import add_rms_norm
from kernels.quant import Form
from model.chat import ChatTemplate
from model.config import KimiConfig
from model.decode import Desk
from model.engine import Engine
from model.moe import MoE
from model.once import Once
from model.sampling import Next
from model.state import MLAState, ModelState
from model.tokenizer import load_tokenizer
from model.transformer import Transformer
from tests.bench import engine_parity, engine_resume, engine_stages, synthetic
from tests.bench.timing import ceilings, copy_speed
from tests.checkpoints import write_tokenizer
from tests.kernels.device import DEVICE, ON_GPU

LAYERS, EXPERTS, WEIGHTS = (27, 256, "bf16") if ON_GPU else (4, 16, "bf16")
PARTS = "short,many,long,stages,parity,resume"
"""Besides `million`, which takes four minutes by itself."""

TOKENS = 0
"""Of the document that `resume` reads, if not its own choice."""

SMALL: dict[str, int] = {} if ON_GPU else {
    "hidden_size": 256, "intermediate_size": 384, "moe_intermediate_size": 128, "vocab_size": 512,
    "num_attention_heads": 2, "kv_lora_rank": 64,
}  # fmt: skip
"""What a dry run changes besides."""

UNIT = 1024 if ON_GPU else 2
"""Tokens in what the tables call 1k."""

STEPS, BATCHES = (32, (8, 32)) if ON_GPU else (2, (2, 3))
NAN = float("nan")

PREFILL = {8: (30_107, 55_400, 70_000), 32: (29_962, 52_100, 64_000), 128: (NAN, 34_200, 38_000)}
DECODE = {(1, 2): (8.6, 260, 420), (1, 128): (NAN, 225, 360), (1, 1024): (NAN, NAN, 200),
          (8, 2): (NAN, 913, 1_200), (32, 2): (NAN, 1_868, 2_000)}  # fmt: skip
"""Tokens/s of transformers + FLA and of vLLM on an H200 in bfloat16 (FACTS, section 3), and what issue 5 asks for:
of a length in k; of rows behind a length in k."""


def run() -> Iterator[str]:
    """The tables."""
    begun = time.perf_counter()
    engine = build(LAYERS, EXPERTS, WEIGHTS)
    yield f"{ceilings()}; {WEIGHTS} experts, {LAYERS} layers, {EXPERTS} experts a layer"
    yield f"weights: {engine.model.nbytes / 1e9:.1f} GB, drawn in {time.perf_counter() - begun:.0f} s"
    yield from synthetic.spread(engine.model, tokens(2 * UNIT))
    parts: dict[str, Callable[[Engine], Iterator[str]]] = {
        "short": short, "many": many, "long": long, "stages": engine_stages.run, "parity": engine_parity.run,
        "resume": lambda engine: engine_resume.run(engine, TOKENS), "million": million,
    }  # fmt: skip
    stopped: list[str] = []
    for name in PARTS.split(","):
        if ON_GPU:
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        yield f"\n**{name}**, {started - begun:.0f} s after the start\n"
        try:
            yield from parts[name](engine)
        except Exception:  # a machine is lent for minutes: one part must not lose those behind it
            stopped.append(name)
            yield f"\n**{name} stopped**: {' / '.join(map(str.strip, traceback.format_exc().splitlines()[-9:]))}"
        if ON_GPU:
            torch.cuda.synchronize()
            yield f"\npeak memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
            torch.cuda.empty_cache()
        yield f"({name}: {time.perf_counter() - started:.0f} s)"
    if stopped:
        raise SystemExit(f"stopped: {', '.join(stopped)}")


def build(layers: int, experts: int, form: str, dtype: torch.dtype | None = None, device: object = DEVICE) -> Engine:
    """An engine of synthetic weights that no token stops, with a small tokenizer."""
    keys = synthetic.reduced(layers, experts, **SMALL)
    config = KimiConfig.from_keys(keys)
    place = cast(torch.device, device)
    dtype = dtype or (torch.bfloat16 if ON_GPU else torch.float32)
    model = synthetic.model(keys, dtype, place, cast(Form, form))
    folder = Path(mkdtemp())
    write_tokenizer(folder)
    tokenizer = load_tokenizer(folder)
    name = f"synthetic {layers} {experts} {form} {place.type}"
    chat, desk = ChatTemplate.from_folder(folder, tokenizer), Desk()
    return Engine(config, Once(lambda: model), tokenizer, chat, place, dtype, name, frozenset(), desk)


def tokens(count: int, seed: int = 0) -> Tensor:
    """Random token ids, int64 [count]."""
    return torch.randint(4, 500, (count,), generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, a GPU's work included."""
    if ON_GPU:
        torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def short(engine: Engine) -> Iterator[str]:
    """One conversation behind 2k tokens, and reading 8k and 32k."""
    yield from header("tokens/s")
    state = read(engine, 2)
    yield written(engine, [state], 2)
    read(engine, 16)  # compiles what a chunk needs
    for thousands, repeat in ((8, 5), (32, 3)):
        yield reading(thousands, min(seconds(lambda: read(engine, thousands)) for _ in range(repeat)))  # noqa: B023


def many(engine: Engine) -> Iterator[str]:
    """Conversations over a document each, side by side."""
    yield from header("tokens/s")
    for rows in BATCHES:
        yield written(engine, [read(engine, 2, seed) for seed in range(rows)], 2)


def long(engine: Engine) -> Iterator[str]:
    """Behind 128k: reading, one conversation, 32 questions over the one document."""
    yield from header("tokens/s")
    kept: list[ModelState] = []
    for _ in range(2):  # the first one compiles
        kept.clear()
        yield reading(128, seconds(lambda: kept.append(read(engine, 128))))
    yield written(engine, kept, 128)
    asked = [engine.read(kept[0], tokens(16, seed).tolist()) for seed in range(BATCHES[-1])]
    yield written(engine, asked, 128, f"one document, {BATCHES[-1]} questions")


def million(engine: Engine) -> Iterator[str]:
    """A million tokens read, and a conversation behind them; `--parts million` after a warm part."""
    yield from header("tokens/s")
    kept: list[ModelState] = []
    spent = seconds(lambda: kept.append(read(engine, 1024)))
    yield reading(1024, spent)
    yield f"\n{spent:.0f} s for {1024 * UNIT:,} tokens, not saved (target, saved: 180 s)\n"
    yield from header("tokens/s")
    yield written(engine, kept, 1024)


def header(what: str) -> list[str]:
    """Of `reading` and `written`."""
    return [f"| work | {what} | transformers + FLA | vLLM 0.26 | target | ours / target | besides |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip


def reading(thousands: int, spent: float) -> str:
    """A row for reading so many thousand tokens from nothing."""
    rate = thousands * UNIT / spent
    return _row(f"read {thousands}k", rate, PREFILL.get(thousands, (NAN, NAN, NAN)), f"{spent:.3f} s")


def written(engine: Engine, states: Sequence[ModelState], thousands: int, what: str = "") -> str:
    """A row for tokens written behind so many thousand, and the bytes that a step reads."""
    spent, used = decode(engine, states)
    rows = len(states)
    model, config = engine.model, engine.config
    experts = config.experts * (config.layers - len(config.dense_layers))
    of_experts = sum(x.nbytes for moe in model.modules() if isinstance(moe, MoE) for x in _stacks(moe))
    table = model.embedding.nbytes if not config.tied else 0
    behind = _latents(states)
    moved = model.nbytes - table - of_experts + of_experts / experts * sum(used) + behind + 2 * rows * _kda(states[0])
    besides = (f"{spent * 1e3:.2f} ms a step, experts read {min(used)} to {max(used)} a layer, {moved / 1e9:.1f} GB, "
               f"{moved / spent / copy_speed():.0%} of copy")  # fmt: skip
    known = DECODE.get((rows, thousands), (NAN, NAN, NAN)) if not what else (NAN, NAN, NAN)
    return _row(what or f"write, batch {rows} behind {thousands}k", rows / spent, known, besides)


def decode(engine: Engine, states: Sequence[ModelState]) -> tuple[float, list[int]]:
    """Median seconds of a step, its token chosen and on the host; how many experts each layer's first step reads."""
    engine = replace(engine, desk=Desk())  # without graphs yet: a graph's layers cannot be listened to
    forks = [state.fork() for state in states]
    spent: list[float] = []
    with torch.no_grad(), engine.side_by_side(engine.empty(), forks, STEPS + 4) as rows:
        with listening(engine.model) as used:  # the first step is no graph yet
            following: Next = rows.step([5 + n for n in range(len(forks))])
        for n in range(STEPS + 3):
            begun = time.perf_counter()
            following = rows.step(following.likeliest)
            if n > 2:  # captured, and warm
                spent.append(time.perf_counter() - begun)
    return sorted(spent)[len(spent) // 2], used


@contextmanager
def listening(model: Transformer) -> Iterator[list[int]]:
    """How many experts each layer reads, a number for each time it is gone through, by itself or with the norm before
    it."""
    used: list[int] = []

    def alone(moe: MoE) -> Callable[..., Tensor]:
        def forward(x: Tensor, apart: bool = False) -> Tensor:
            used.append(_distinct(moe, x))
            return MoE.forward(moe, x, apart)

        return forward

    def normed(moe: MoE) -> Callable[..., tuple[Tensor, Tensor]]:
        def after(x: Tensor, delta: Tensor, norm: Tensor, eps: float) -> tuple[Tensor, Tensor]:
            used.append(_distinct(moe, add_rms_norm(x, delta, norm, eps)[1]))
            return MoE.after(moe, x, delta, norm, eps)

        return after

    layers = [moe for moe in model.modules() if isinstance(moe, MoE)]
    for moe in layers:
        vars(moe).update(forward=alone(moe), after=normed(moe))
    try:
        yield used
    finally:
        for moe in layers:
            del vars(moe)["forward"], vars(moe)["after"]


def read(engine: Engine, thousands: int, seed: int = 0) -> ModelState:
    """The state after so many thousand random tokens."""
    return engine.read(engine.empty(), tokens(thousands * UNIT, seed).tolist())


def _row(work: str, rate: float, known: tuple[float, float, float], besides: str) -> str:
    figures = " | ".join("–" if figure != figure else f"{figure:,.0f}" for figure in known)
    share = rate / known[2]
    return f"| {work} | {rate:,.0f} | {figures} | {'–' if share != share else f'{share:.2f}'} | {besides} |"


def _distinct(moe: MoE, x: Tensor) -> int:
    chosen = route(x, moe.router, moe.bias, moe.top_k, moe.renormalize, moe.scaling)[1]
    return int(chosen.unique().numel())


def _stacks(moe: MoE) -> Iterator[Tensor]:
    """The tensors of the routed experts."""
    for weights in (moe.gate_up, moe.down):
        yield from [weights] if isinstance(weights, Tensor) else vars(weights).values()


def _latents(states: Sequence[ModelState]) -> int:
    """Bytes of the pages that a step reads: what rows share counts once."""
    pages = {page.data_ptr(): page.nbytes for state in states for layer in state.layers if isinstance(layer, MLAState)
             for page in layer.pages()}  # fmt: skip
    return sum(pages.values())


def _kda(state: ModelState) -> int:
    return sum(x.nbytes for name, x in state.to_tensors().items() if "latents" not in name)
