"""Where the engine's time goes: what kernels of each stage take, and what share of their ceiling that is."""

import math
import re
from collections.abc import Callable, Iterator

import torch
from torch.profiler import ProfilerActivity, profile

from kernels import moe_few_triton
from kernels.linear import Weight
from model.engine import Engine
from model.mla import MLA
from model.transformer import Layer, Transformer
from tests.bench.timing import copy_speed, graphed_milliseconds, matmul_speed
from tests.kernels.device import ON_GPU

STAGES = {
    "experts": r"^_grouped|products_kernel|^_combine|^_up$|^_down$|^_add_up$|^_plan$|^_quantize",
    "router": r"^_logits|^_add_norm_logits|^_choose|^_count|^_put|^_cut",
    "attention": r"attend|^_?partial|^_join|^append",
    "KDA": r"chunk_kernel|pass_kernel|segment_kernel|join_kernel|decode_kernel|conv_kernel",
    "norms": r"norm_kernel",
    "matrices": r"gemm|nvjet|cutlass|cublas|gemv|absorb_kernel|pair_kernel|rows_kernel|tiles_kernel|splitK",
}
"""Stage -> kernels' names; what none of them names is `other`."""

CHUNK = 16_384 if ON_GPU else 64
FAR = 131_072 if ON_GPU else 512


def run(engine: Engine) -> Iterator[str]:
    """A chunk at the start, one behind 128k, a step alone, of 8 and of 32 rows; then ways to multiply 32 tokens."""
    from tests.bench import engine as bench

    near, far = bench.tokens(CHUNK).tolist(), bench.tokens(FAR, seed=1).tolist()
    behind = engine.read(engine.empty(), far)
    yield from table(f"a chunk of {CHUNK:,} at the start", lambda: engine.read(engine.empty(), near), engine, CHUNK, 0)
    yield from table(f"a chunk behind {FAR:,}", lambda: engine.read(behind, near), engine, CHUNK, FAR)
    for rows in (1, *bench.BATCHES):
        states = [engine.read(behind, [5 + n]) for n in range(rows)]
        with torch.no_grad(), engine.side_by_side(behind, states, 16) as place:
            following = place.step([7] * rows)
            for _ in range(3):
                following = place.step(following.likeliest)
            tokens = following.likeliest
            yield from table(f"a step of {rows} behind {FAR:,}", lambda: place.step(tokens))  # noqa: B023
    yield from few_or_grouped(engine)


def table(
    what: str, work: Callable[[], object], engine: Engine | None = None, tokens: int = 0, past: int = 0
) -> Iterator[str]:
    """Milliseconds of each stage; for a chunk also its share of the matrix product's peak."""
    with torch.no_grad():
        work()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if ON_GPU else [])]
        with profile(activities=activities) as profiled:
            work()
            if ON_GPU:
                torch.cuda.synchronize()
    spent: dict[str, float] = {}
    launches: dict[str, int] = {}
    unnamed: dict[str, float] = {}
    for event in profiled.key_averages():
        took = event.self_device_time_total / 1e3 if ON_GPU else event.self_cpu_time_total / 1e3
        if not took or (ON_GPU and event.device_type == torch.autograd.DeviceType.CPU):
            continue
        stage = stage_of(event.key)
        spent[stage] = spent.get(stage, 0.0) + took
        launches[stage] = launches.get(stage, 0) + event.count
        if stage == "other":
            unnamed[event.key] = took
    counted = operations(engine.model, tokens, past) if engine else {}
    yield f"\n| {what} | ms | share | launches | TFLOP/s | of the peak |"
    yield "|---|---|---|---|---|---|"
    total = sum(spent.values())
    for stage, took in sorted(spent.items(), key=lambda pair: -pair[1]):
        rate = counted.get(stage, math.nan) / took / 1e9
        figures = "– | –" if math.isnan(rate) else f"{rate:.0f} | {rate * 1e12 / matmul_speed():.0%}"
        yield f"| {stage} | {took:.2f} | {took / total:.0%} | {launches[stage]} | {figures} |"
    most = sorted(unnamed.items(), key=lambda pair: -pair[1])[:4]
    yield f"| all | {total:.2f} | | {sum(launches.values())} | other: {', '.join(key[:40] for key, _ in most)} | |"


def stage_of(kernel: str) -> str:
    """The stage of a kernel of this name."""
    return next((stage for stage, names in STAGES.items() if re.search(names, kernel)), "other")


def operations(model: Transformer, tokens: int, past: int) -> dict[str, float]:
    """Floating-point operations of a chunk's stages while a document is read: of the last layer only what its state
    needs. The expansion of latents counts with the matrices it is one of."""
    config, last = model.config, model.layers[-1]
    assert isinstance(last, Layer)
    working = set(range(config.layers - 1))
    layers, mla = len(working - set(config.dense_layers)), len(working & set(config.mla_layers))
    idle = [last.attention.output, *([last.attention.query] if isinstance(last.attention, MLA) else [])]
    idle += [x for x in last.feed_forward.parameters() if isinstance(x, Weight) and x.dim() == 2]
    whole = sum(x.numel() for x in model.parameters() if isinstance(x, Weight) and x.dim() == 2)
    whole -= sum(x.numel() for x in idle)
    shared = 3 * config.hidden * config.shared_inner * layers
    heads = config.heads * (config.nope + config.shared + config.value_dim)
    expansion = config.rank * config.heads * (config.nope + config.value_dim)
    tables = config.vocab_size * config.hidden * (1 if config.tied else 2)
    matrices = (whole - tables - shared) * tokens + expansion * mla * (past + tokens)
    return {
        "experts": 2.0 * tokens * (3 * config.top_k * config.hidden * config.expert_inner * layers + shared),
        "attention": 2.0 * mla * heads * tokens * (past + tokens / 2),
        "matrices": 2.0 * matrices,
    }


def few_or_grouped(engine: Engine) -> Iterator[str]:
    """From how many tokens on the kernel for many is the faster one: at 16 the layer changes over."""
    from kernels import moe_grouped_triton
    from kernels.moe_route_triton import route
    from model.moe import MoE

    if not ON_GPU:
        return
    layer = next(module for module in engine.model.modules() if isinstance(module, MoE))
    yield f"\n| tokens | a few's kernel us | the grouped one's us | copy speed {copy_speed() / 1e12:.2f} TB/s |"
    yield "|---|---|---|---|"
    for tokens in (8, 16, 24, 32, 48, 64):
        x = torch.randn(tokens, engine.config.hidden, device=engine.device, dtype=engine.dtype)
        each, chosen = route(x, layer.router, layer.bias, layer.top_k, layer.renormalize, layer.scaling)
        took = []
        for module in (moe_few_triton, moe_grouped_triton):
            if module is moe_few_triton and tokens > moe_few_triton.TOKENS:
                took.append(math.nan)
                continue
            shared = (layer.shared.gate_up, layer.shared.down)
            took.append(graphed_milliseconds(
                lambda: module.mixture(x, each, chosen, layer.gate_up, layer.down, shared)  # noqa: B023
            ))  # fmt: skip
        read = int(chosen.unique().numel()) + 1
        yield f"| {tokens} | {took[0] * 1e3:.1f} | {took[1] * 1e3:.1f} | {read} experts read |"
