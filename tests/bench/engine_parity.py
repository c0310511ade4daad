"""Whether the engine on a GPU says what the reference on the CPU says: distributions, and a state that came back.

The 48B's shape with its first layers only, the same weights in float32 by the references, and by the kernels in
bfloat16, fp8 and int4; then `mini` whole. Logits after every token of a text are compared. Rounding has some tokens go
to other experts, which moves them far: so PyTorch's own bfloat16 stands beside ours, and tokens whose experts are the
same are counted apart.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import cast

import torch
from torch import Tensor

from kernels.moe import route
from kernels.quant import FORMS
from model.engine import Engine
from model.moe import MoE
from model.sampling import Sampling
from model.state import ModelState
from tests.kernels.device import DEVICE, ON_GPU

MINI = Path(__file__).parents[2] / "model" / "mini"
SAMPLE = Path(__file__).parents[2] / "ui" / "sample.txt"

LAYERS, EXPERTS, TOKENS = (4, 64, 512) if ON_GPU else (4, 8, 64)
MARGIN = 0.1
"""Where the reference's likeliest token leads by less, rounding may choose another."""


@dataclass(frozen=True)
class Said:
    """logits float32 [T, vocabulary] after every token, and the experts [layers, T, K] it went to, by number."""

    logits: Tensor
    experts: Tensor


def run(engine: Engine) -> Iterator[str]:
    """The table, then the tokens behind a state that was saved."""
    from tests.bench import engine as bench

    yield ("| model | against | KL a token, mean | most | likeliest agrees | where it leads by 0.1 | "
           "KL of tokens with the same experts |")  # fmt: skip
    yield "|---|---|---|---|---|---|---|"
    ids = bench.tokens(TOKENS).tolist()
    plain = bench.build(LAYERS, EXPERTS, "bf16", torch.float32, torch.device("cpu"))
    expected = said(plain, ids)
    del plain
    name = f"{LAYERS} layers, {EXPERTS} experts"
    with references():
        found = said(bench.build(LAYERS, EXPERTS, "bf16", torch.bfloat16), ids)
        yield f"| {name}, bf16, PyTorch alone | float32 on the CPU | {compare(expected, found)} |"
    for form in FORMS:
        found = said(bench.build(LAYERS, EXPERTS, form), ids)
        yield f"| {name}, {form} | float32 on the CPU | {compare(expected, found)} |"
    if any(MINI.glob("*.safetensors")):
        reference = Engine.load(MINI, "cpu", torch.float32)
        ids = reference.tokenizer.encode(SAMPLE.read_text("utf-8"))[:TOKENS]
        found = said(Engine.load(MINI, str(DEVICE)), ids)
        yield f"| mini, bf16 | float32 on the CPU | {compare(said(reference, ids), found)} |"
    else:
        yield "| mini: its weights are not on this machine | | | | | | |"
    yield "(asked for: KL at most 1e-3, 99 % agree)\n"
    yield from resumed(engine)


@contextmanager
def references() -> Iterator[None]:
    """PyTorch's functions instead of the kernels."""
    before = os.environ.get("ONCEREAD_KERNELS")
    os.environ["ONCEREAD_KERNELS"] = "reference"
    try:
        yield
    finally:
        del os.environ["ONCEREAD_KERNELS"]
        if before is not None:
            os.environ["ONCEREAD_KERNELS"] = before


@torch.no_grad()
def said(engine: Engine, ids: Sequence[int]) -> Said:
    """What a model says of a text of one chunk, on the CPU."""
    chosen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda moe, given: chosen.append(_experts(cast(MoE, moe), given[0])))
             for layer in engine.model.modules() if isinstance(layer, MoE)]  # fmt: skip
    hidden = [last for _, last in engine._chunks(engine.empty(), ids, 0)]
    for hook in hooks:
        hook.remove()
    logits = torch.cat([engine.model.logits(rows).cpu() for part in hidden for rows in part.split(64)])
    return Said(logits, torch.stack(chosen))


def _experts(moe: MoE, x: Tensor) -> Tensor:
    return route(x, moe.router, moe.bias, moe.top_k, moe.renormalize, moe.scaling)[1].sort(-1).values.cpu()


def compare(expected: Said, found: Said) -> str:
    """Cells of the table: how far the distributions are apart, and how often the likeliest token is the same."""
    log_p, log_q = expected.logits.log_softmax(-1), found.logits.log_softmax(-1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1)
    best = expected.logits.topk(2, -1)
    agrees = best.indices[:, 0] == found.logits.argmax(-1)
    clear = best.values[:, 0] - best.values[:, 1] > MARGIN
    same = (expected.experts == found.experts).all(-1).all(0)
    return (f"{divergence.mean():.2e} | {divergence.max():.2e} | {agrees.float().mean():.1%} | "
            f"{agrees[clear].float().mean():.1%} of {int(clear.sum())} | "
            f"{divergence[same].mean():.2e} of {int(same.sum())}")  # fmt: skip


def resumed(engine: Engine) -> Iterator[str]:
    """Greedy tokens from a state saved to SQLite and loaded again, against those from the state that never was."""
    from storage.blocks import Maker, Piece
    from storage.database import Database
    from storage.documents import Documents
    from storage.snapshots import Snapshots
    from tests.bench import engine as bench

    count = 5 * bench.UNIT + 77
    state = engine.read(engine.empty(), bench.tokens(count, seed=3).tolist())
    database = Database(Path(mkdtemp()) / "states.sqlite")
    document = Documents(database).add("random", "text", "random tokens", [], [], None)
    maker = Maker(engine.fingerprint, "none", "none")
    saved = Snapshots(database).save(document.id, maker, [], Piece("all", count, state.to_tensors()), True)
    back: ModelState = engine.restore(count, Snapshots(database).load(saved.id))
    database.close()
    question, sampling = bench.tokens(24, seed=4).tolist(), Sampling(max_tokens=bench.STEPS)
    kept, again = (list(engine.generate(each, question, sampling)) for each in (state, back))
    equal = sum(a == b for a, b in zip(kept, again, strict=True))
    same = f"{equal} of {len(kept)} greedy tokens behind {count:,} are the same from the saved state"
    yield f"{same} ({len(set(kept))} different ones)"
