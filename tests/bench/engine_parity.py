"""Whether the engine on a GPU says what the reference on the CPU says: distributions, and a state that came back.

The 48B's shape with its first layers only, the same weights in float32 by the references, and by the kernels in
bfloat16, fp8 and int4; then `mini` whole. Logits after every token of a text are compared.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import Tensor

from kernels.quant import FORMS
from model.engine import Engine
from model.sampling import Sampling
from model.state import ModelState
from tests.kernels.device import DEVICE, ON_GPU

MINI = Path(__file__).parents[2] / "model" / "mini"
SAMPLE = Path(__file__).parents[2] / "ui" / "sample.txt"

LAYERS, EXPERTS, TOKENS = (4, 64, 512) if ON_GPU else (4, 8, 64)
MARGIN = 0.1
"""Where the reference's likeliest token leads by less, rounding may choose another."""


def run(engine: Engine) -> Iterator[str]:
    """The table, then the tokens behind a state that was saved."""
    from tests.bench import engine as bench

    yield "| model | against | KL a token, mean | most | likeliest agrees | where it leads by 0.1 |"
    yield "|---|---|---|---|---|---|"
    ids = bench.tokens(TOKENS).tolist()
    plain = bench.build(LAYERS, EXPERTS, "bf16", torch.float32, torch.device("cpu"))
    expected = logits(plain, ids)
    del plain
    name = f"{LAYERS} layers, {EXPERTS} experts"
    for form in FORMS:
        found = logits(bench.build(LAYERS, EXPERTS, form), ids)
        yield f"| {name}, {form} | float32 on the CPU | {compare(expected, found)} |"
    if any(MINI.glob("*.safetensors")):
        reference = Engine.load(MINI, "cpu", torch.float32)
        ids = reference.tokenizer.encode(SAMPLE.read_text("utf-8"))[:TOKENS]
        found = logits(Engine.load(MINI, str(DEVICE)), ids)
        yield f"| mini, bf16 | float32 on the CPU | {compare(logits(reference, ids), found)} |"
    else:
        yield "| mini: its weights are not on this machine | | | | | |"
    yield "(asked for: KL at most 1e-3, 99 % agree)\n"
    yield from resumed(engine)


@torch.no_grad()
def logits(engine: Engine, ids: Sequence[int]) -> Tensor:
    """After every token, float32 [T, vocabulary] on the CPU; each chunk's are moved before the next."""
    hidden = [part for _, part in engine._chunks(engine.empty(), ids)]
    return torch.cat([engine.model.logits(rows).cpu() for part in hidden for rows in part.split(64)])


def compare(expected: Tensor, found: Tensor) -> str:
    """Cells of the table: how far the distributions are apart, and how often the likeliest token is the same."""
    log_p, log_q = expected.log_softmax(-1), found.log_softmax(-1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1)
    best = expected.topk(2, -1)
    agrees = best.indices[:, 0] == found.argmax(-1)
    clear = best.values[:, 0] - best.values[:, 1] > MARGIN
    return (f"{divergence.mean():.2e} | {divergence.max():.2e} | {agrees.float().mean():.1%} | "
            f"{agrees[clear].float().mean():.1%} of {int(clear.sum())}")  # fmt: skip


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
