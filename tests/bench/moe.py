"""The MoE layer on a GPU: many tokens against torch's grouped_mm, a handful against the bytes of their experts.

Off a GPU it is a dry run at tiny sizes in Triton's interpreter: every line of it runs, nothing is measured.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import quant
from kernels.quant import Fp8, Int4, Weights
from tests.bench.timing import ceilings, copy_speed, graphed_milliseconds, milliseconds
from tests.kernels.device import DEVICE, ON_GPU

EXPERTS, TOP_K, WIDTH, INNER = (256, 8, 2_304, 1_024) if ON_GPU else (6, 2, 128, 128)
TOKENS = [2_048, 8_192, 16_384, 32_768] if ON_GPU else [20]
FEW = [1, 4, 8, 16] if ON_GPU else [1, 3]
DTYPE = torch.bfloat16 if ON_GPU else torch.float32
FORMS = ("bf16", "fp8", "int4")

Experts = tuple[Weights, Weights, tuple[Weights, Weights]]


def run() -> Iterator[str]:
    """The tables."""
    yield from [ceilings(), ""]
    router, bias, experts = weights()
    yield from many(router, bias, experts)
    yield ""
    yield from stages(router, bias, experts["bf16"])
    for form in ("bf16", "fp8"):
        yield from products(router, bias, experts[form])
    yield ""
    yield from few(router, bias, experts)


def weights() -> tuple[Tensor, Tensor, dict[str, Experts]]:
    """A router that spreads, and unit-scale experts in every format."""
    def randn(*shape: int) -> Tensor:
        return (torch.randn(shape, device=DEVICE, dtype=DTYPE) * shape[-1] ** -0.5).contiguous()

    plain = (randn(EXPERTS, 2 * INNER, WIDTH), randn(EXPERTS, WIDTH, INNER))
    shared = (randn(2 * INNER, WIDTH), randn(WIDTH, INNER))
    experts: dict[str, Experts] = {"bf16": (*plain, shared)}
    for form in FORMS[1:]:
        experts[form] = (_packed(plain[0], form), _packed(plain[1], form), tuple(_packed(w, form) for w in shared))  # type: ignore[assignment]
    return randn(EXPERTS, WIDTH), 0.01 * torch.randn(EXPERTS, device=DEVICE), experts


def _packed(weight: Tensor, form: str) -> Weights:
    """A few experts at a time: the float32 between takes room."""
    pack = quant.to_fp8 if form == "fp8" else quant.to_int4
    if weight.dim() == 2:
        return pack(weight)
    parts = [pack(part) for part in weight.split(16)]
    fields = {name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    return Fp8(**fields) if form == "fp8" else Int4(**fields)


def operations(tokens: int) -> float:
    """Of the routed experts and the shared one."""
    return 2.0 * tokens * (TOP_K + 1) * 3 * WIDTH * INNER


def histogram(chosen: Tensor) -> str:
    """How many tokens experts have."""
    counts = torch.bincount(chosen.flatten(), minlength=EXPERTS).sort().values
    used = int((counts > 0).sum())
    return (f"{used} of {EXPERTS} experts used; tokens of one: least {int(counts[0])}, median "
            f"{int(counts[EXPERTS // 2])}, most {int(counts[-1])}")  # fmt: skip


def many(router: Tensor, bias: Tensor, experts: dict[str, Experts]) -> Iterator[str]:
    """The whole layer in a CUDA graph, router included, for in the engine the host is layers ahead. The peer waits for
    the host in between and is launched; it has neither router nor shared expert, and its rate counts without."""
    from kernels.moe_grouped_triton import mixture
    from kernels.moe_route_triton import route

    yield "| tokens | bf16 ms | TFLOP/s | fp8 ms | TFLOP/s | int4 ms | TFLOP/s | torch grouped_mm TFLOP/s |"
    yield "|---|---|---|---|---|---|---|---|"
    seen = []
    for tokens in TOKENS:
        x = torch.randn(tokens, WIDTH, device=DEVICE, dtype=DTYPE)
        row = f"| {tokens:,} |"
        for form in FORMS:

            def work() -> Any:
                each, chosen = route(x, router, bias, TOP_K, True, 2.446)  # noqa: B023
                return mixture(x, each, chosen, *experts[form])  # noqa: B023

            ms = graphed_milliseconds(work)
            row += f" {ms:.3f} | {operations(tokens) / ms / 1e9:.0f} |"
        each, chosen = route(x, router, bias, TOP_K, True, 2.446)
        seen.append(f"{tokens:,} tokens: {histogram(chosen)}")
        theirs = grouped_mm(x, each, chosen, experts["bf16"])
        yield f"{row} {2.0 * tokens * TOP_K * 3 * WIDTH * INNER / theirs / 1e9:.0f} |"
    yield from ["", *seen]


def grouped_mm(x: Tensor, weights: Tensor, chosen: Tensor, experts: Experts) -> float:
    """Milliseconds of sort, two of torch's grouped products and the sum."""
    if not ON_GPU:
        return math.nan
    gate_up, down = experts[:2]
    assert isinstance(gate_up, Tensor)
    assert isinstance(down, Tensor)

    def work() -> Tensor:
        flat = chosen.flatten()
        order = flat.argsort(stable=True)
        ends = torch.bincount(flat, minlength=EXPERTS).cumsum(0).to(torch.int32)
        gate, up = torch._grouped_mm(x[order // TOP_K], gate_up.transpose(1, 2), ends).chunk(2, 1)
        y = torch._grouped_mm(F.silu(gate) * up, down.transpose(1, 2), ends)
        y = y * weights.flatten()[order, None].to(y.dtype)
        return torch.zeros_like(x).index_add_(0, order // TOP_K, y)

    try:
        return milliseconds(work)
    except RuntimeError:
        return math.nan


def stages(router: Tensor, bias: Tensor, experts: Experts) -> Iterator[str]:
    """Where the time of 16k tokens goes, and other tiles."""
    from kernels import moe_grouped_triton as module
    from kernels.moe_route_triton import route, sort

    tokens = 16_384 if ON_GPU else 20
    x = torch.randn(tokens, WIDTH, device=DEVICE, dtype=DTYPE)
    gate_up, down, _ = experts
    weights, chosen = route(x, router, bias, TOP_K, True, 2.446)
    order = sort(chosen, EXPERTS, module.ROWS)
    routed = module.grouped(x, order, TOP_K, gate_up, down)
    act = torch.empty(len(routed), INNER, device=DEVICE, dtype=DTYPE)
    rows = [
        ("router", lambda: route(x, router, bias, TOP_K, True, 2.446), 2.0 * tokens * WIDTH * EXPERTS),
        ("sort", lambda: sort(chosen, EXPERTS, module.ROWS), 0.0),
        ("routed, plain", lambda: module.grouped(x, order, TOP_K, gate_up, down), 6.0 * tokens * TOP_K * WIDTH * INNER),
        ("combine", lambda: module.combine(routed, order.place, weights, x), 0.0),
    ]  # fmt: skip
    yield f"| {tokens:,} tokens, bf16 | ms | TFLOP/s |"
    yield "|---|---|---|"
    for name, work, count in rows:
        ms = milliseconds(work)
        yield f"| {name} | {ms:.3f} | {count / ms / 1e9:.0f} |"
    for step, weight, a, out, sizes in (
        ("up", gate_up, x, act, (INNER, WIDTH)), ("down", down, act, routed, (WIDTH, INNER)),
    ):  # fmt: skip
        kept = module.TILES[step]
        strip = kept["BLOCK_N"]
        for n, group, stages in [(strip, 4, 4), (strip, 8, 4), (strip, 4, 3), (strip // 2, 4, 4)]:
            module.TILES[step] = {"BLOCK_N": n, "GROUP": group, "num_warps": 8, "num_stages": stages}
            ms = milliseconds(lambda: module._launch(step, a, a, out, a, order, TOP_K, weight, *sizes))  # noqa: B023
            count = 2.0 * tokens * TOP_K * WIDTH * INNER * (2 if step == "up" else 1)
            yield f"| {step}: strips of {n}, groups of {group}, {stages} stages | {ms:.3f} | {count / ms / 1e9:.0f} |"
        module.TILES[step] = kept


def products(router: Tensor, bias: Tensor, experts: Experts) -> Iterator[str]:
    """Both products of 16k tokens in the kernel that Hopper takes, the shared expert's among them."""
    from kernels import moe_grouped_gluon_triton as module
    from kernels.moe_grouped_triton import quantized
    from kernels.moe_route_triton import route, sort

    x = torch.randn(16_384 if ON_GPU else 20, WIDTH, device=DEVICE, dtype=DTYPE)
    gate_up, down, shared = experts
    if not module.fits(x, gate_up, down, shared):
        return
    order = sort(route(x, router, bias, TOP_K, True, 2.446)[1], EXPERTS, module.ROWS, module.HALF, len(x))
    form = "fp8" if isinstance(down, Fp8) else "bf16"
    a, scales = quantized(x) if form == "fp8" else (x, x)
    act = torch.empty(len(order.pair), INNER, device=DEVICE, dtype=a.dtype)
    act_scales = torch.empty(INNER // quant.BLOCK, len(order.pair), device=DEVICE)
    out = torch.empty(len(order.pair), WIDTH, device=DEVICE, dtype=DTYPE)
    for step, count, arguments in (
        ("up", 2, (a, scales, order, TOP_K, gate_up, shared[0], act, act_scales)),
        ("down", 1, (act, act_scales, order, TOP_K, down, shared[1], out, act_scales)),
    ):
        ms = milliseconds(lambda: module.products(step, *arguments))  # noqa: B023
        yield (f"| Hopper's {step}, {form}, shared expert included | {ms:.3f} | "
               f"{count * 2.0 * len(x) * (TOP_K + 1) * WIDTH * INNER / ms / 1e9:.0f} |")  # fmt: skip


def few(router: Tensor, bias: Tensor, experts: dict[str, Experts]) -> Iterator[str]:
    """The whole layer in a CUDA graph of eight, each with tokens of its own: bytes of the experts it reads."""
    from kernels.moe_few_triton import mixture
    from kernels.moe_route_triton import route

    yield "| tokens | weights | us a layer | experts read | TB/s | share of copy |"
    yield "|---|---|---|---|---|---|"
    for tokens in FEW:
        layers = [torch.randn(tokens, WIDTH, device=DEVICE, dtype=DTYPE) for _ in range(8 if ON_GPU else 2)]
        picks = [route(x, router, bias, TOP_K, True, 2.446)[1] for x in layers]
        read = sum(len(pick.unique()) + 1 for pick in picks) / len(layers)
        for form in FORMS:

            def work() -> None:
                for x in layers:  # noqa: B023
                    each, chosen = route(x, router, bias, TOP_K, True, 2.446)
                    mixture(x, each, chosen, *experts[form])  # noqa: B023

            ms = graphed_milliseconds(work) / len(layers)
            speed = read * _bytes(experts[form]) / ms * 1e3
            yield (f"| {tokens} | {form} | {ms * 1e3:.1f} | {read:.1f} | {speed / 1e12:.2f} | "
                   f"{speed / copy_speed():.0%} |")  # fmt: skip


def _bytes(experts: Experts) -> float:
    """Bytes of one expert."""
    tensors = [x for weight in experts[:2] for x in ([weight] if isinstance(weight, Tensor) else vars(weight).values())]
    return sum(x.numel() * x.element_size() for x in tensors) / EXPERTS
