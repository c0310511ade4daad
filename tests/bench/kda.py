"""KDA on a GPU: prefill and its two halves, decode in a CUDA graph, convolution, norms; FLA beside us where installed.

Off a GPU it is a dry run at tiny sizes in Triton's interpreter: every line of it runs, nothing is measured.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from kernels import conv, kda_decode, kda_prefill, norm
from kernels.kda_decode import DecodeWeights
from tests.bench.timing import ceilings, copy_speed, graphed_milliseconds, matmul_speed, milliseconds
from tests.kernels.device import DEVICE, ON_GPU

HEADS, DIM, HIDDEN = (32, 128, 2304) if ON_GPU else (1, 16, 64)
LENGTHS = [8_192, 32_768, 131_072] if ON_GPU else [70]
BATCHES = [1, 8, 64, 128] if ON_GPU else [2]
LAYERS = 20
"""A graph of decode steps has this many, each with its own state, as a token in the 48B has."""


def run() -> Iterator[str]:
    """The tables."""
    os.environ["ONCEREAD_KERNELS"] = "triton"
    yield from [ceilings(), ""]
    for table in (prefill, decode, others, parts):
        yield from table()
        yield ""


def random(*shape: int) -> Tensor:
    """N(0, 1) in bfloat16."""
    return torch.randn(shape, device=DEVICE).bfloat16()


def inputs(tokens: int) -> tuple[Tensor, ...]:
    """q, k, v, raw, beta, a_log, dt_bias, state as FACTS's measurement of FLA drew them."""
    qkv = random(tokens, 3, HEADS, DIM)
    a_log = torch.empty(HEADS, device=DEVICE).uniform_(1, 16).log()
    bias, state = torch.randn(HEADS, DIM, device=DEVICE) * 0.1 - 4, torch.zeros(HEADS, DIM, DIM, device=DEVICE)
    return *qkv.unbind(1), random(tokens, HEADS, DIM), random(tokens, HEADS), a_log, bias, state


def peer(name: str) -> Callable[..., Any] | None:
    """A function of flash-linear-attention, if it is installed."""
    try:
        return getattr(importlib.import_module("fla.ops.kda"), name)
    except ImportError:
        return None


def prefill() -> Iterator[str]:
    """Whole prefill against FLA's chunk_kda, and against its floor: bytes of inputs and outputs, and operations."""
    yield "| prefill, B1 | ours ms | FLA ms | FLA / ours | TFLOP/s | share of copy (in, out) | error to FLA |"
    yield "|---|---|---|---|---|---|---|"
    chunk_kda = peer("chunk_kda")
    for tokens in LENGTHS:
        q, k, v, raw, beta, a_log, bias, state = inputs(tokens)
        ours = milliseconds(lambda: kda_prefill.prefill(q, k, v, raw, beta, a_log, bias, state))  # noqa: B023
        theirs, apart = float("nan"), float("nan")
        if chunk_kda:
            batched = {"q": q, "k": k, "v": v, "g": raw, "beta": beta}
            batched = {name: x[None].contiguous() for name, x in batched.items()}

            def work() -> Any:
                return chunk_kda(
                    **batched, initial_state=state[None], output_final_state=True, use_gate_in_kernel=True,  # noqa: B023
                    use_qk_l2norm_in_kernel=True, use_beta_sigmoid_in_kernel=True, A_log=a_log, dt_bias=bias.flatten(),  # noqa: B023
                )  # fmt: skip

            with torch.inference_mode():
                theirs = milliseconds(work)
                found = kda_prefill.prefill(q, k, v, raw, beta, a_log, bias, state)[0].float()
                apart = float((work()[0][0].float() - found).norm() / found.norm())
        yield (
            f"| {tokens:,} | {ours:.3f} | {theirs:.3f} | {theirs / ours:.2f} | {operations(tokens) / ours / 1e9:.0f} | "
            f"{5 * tokens * HEADS * DIM * 2 / ours * 1e3 / copy_speed():.0%} | {apart:.4f} |"
        )


def operations(tokens: int) -> float:
    """Floating-point operations of the chunked form: scores, solve, W and U, and four products with the state."""
    chunk = 64 * DIM * (4 * 64 + 4 * 64 + 2 * 64 + 6 * DIM) + 64**3
    return 1.0 * tokens / 64 * HEADS * chunk


def parts() -> Iterator[str]:
    """The two halves of one span apart, and candidates of the pass in plain Triton."""
    from kernels import kda_prefill_triton as module

    yield "| one span | ms | GB/s over what it moves |"
    yield "|---|---|---|"
    tokens = LENGTHS[0]
    q, k, v, raw, beta, a_log, bias, state = inputs(tokens)
    o = torch.empty_like(v)
    bounds, slots = module._chunk_table(1, tokens, 0, tokens, (), DEVICE)
    made = module._chunks([q, k, v, raw, beta], a_log, bias, bounds)
    between = sum(x.numel() * x.element_size() for x in made)
    given = 4 * tokens * HEADS * DIM * 2
    ms = milliseconds(lambda: module._chunks([q, k, v, raw, beta], a_log, bias, bounds))
    yield f"| chunks, {tokens:,} tokens | {ms:.3f} | {(given + between) / ms / 1e6:.0f} |"
    ms = milliseconds(lambda: module._pass(made, bounds, slots, state[None], o, 0))
    yield f"| pass | {ms:.3f} | {(between + given / 4) / ms / 1e6:.0f} |"
    kept = module.SLICE, module.FILL, module.GLUON
    module.GLUON = False
    for columns, fill in [(64, 64), (64, 128), (64, 256), (32, 128), (32, 256)]:
        module.SLICE, module.FILL = columns, fill
        segments = module.segment_count(HEADS * (DIM // min(columns, DIM)), len(bounds))
        try:
            ms = milliseconds(lambda: module._pass(made, bounds, slots, state[None], o, 0))
        except Exception as error:  # a candidate too large for the GPU is a row of the table, not its end
            yield f"| plain pass, {columns} columns, {segments} segments | {type(error).__name__} | |"
            continue
        moved = (between + given / 4) / ms / 1e6
        yield f"| plain pass, {columns} columns, {segments} segments | {ms:.3f} | {moved:.0f} |"
    module.SLICE, module.FILL, module.GLUON = kept


def decode() -> Iterator[str]:
    """One token for each of a batch in 20 layers, conv and norms included, against FLA's recurrent step alone."""
    yield "| decode, batch | ours us a layer | share of copy over the state | FLA's step alone us | FLA / ours |"
    yield "|---|---|---|---|---|"
    step = peer("fused_recurrent_kda")
    channels = HEADS * DIM
    weights = DecodeWeights(
        random(3 * channels, 4), torch.empty(HEADS, device=DEVICE).uniform_(1, 16).log(),
        torch.randn(channels, device=DEVICE) * 0.1 - 4, random(DIM), 1e-5,
    )  # fmt: skip
    for batch in BATCHES:
        layers = LAYERS if batch < 64 else 4  # the states of 4 do not fit into the cache either
        qkv, raw, gate = random(batch, 3 * channels), random(batch, HEADS, DIM), random(batch, HEADS, DIM)
        beta = random(batch, HEADS)
        states = [torch.randn(batch, HEADS, DIM, DIM, device=DEVICE) for _ in range(layers)]
        tails = [random(batch, 3, 3 * channels) for _ in range(layers)]

        def work() -> None:
            for tail, state in zip(tails, states, strict=True):  # noqa: B023
                kda_decode.decode(qkv, raw, gate, beta, weights, tail, state, in_place=True)  # noqa: B023

        ours = graphed_milliseconds(work) / layers
        theirs = float("nan")
        if step:
            q, k, v = (x.contiguous()[:, None] for x in qkv.unflatten(1, (3, HEADS, DIM)).unbind(1))

            def their_work() -> None:
                for state in states:  # noqa: B023
                    step(
                        q=q, k=k, v=v, g=raw[:, None], beta=beta[:, None], initial_state=state,  # noqa: B023
                        output_final_state=True, use_gate_in_kernel=True, use_qk_l2norm_in_kernel=True,
                        use_beta_sigmoid_in_kernel=True, A_log=weights.a_log, dt_bias=weights.dt_bias,
                    )  # fmt: skip

            with torch.inference_mode():
                theirs = graphed_milliseconds(their_work) / layers
        share = 2 * states[0].numel() * 4 / ours * 1e3 / copy_speed()
        yield f"| {batch} | {ours * 1e3:.2f} | {share:.0%} | {theirs * 1e3:.2f} | {theirs / ours:.2f} |"


def others() -> Iterator[str]:
    """What else a KDA layer runs over many tokens: bytes read and written against the copy."""
    tokens, channels = (16_384, 3 * HEADS * DIM) if ON_GPU else (5, 3 * HEADS * DIM)
    x, tail, weight = random(tokens, channels + 288)[:, :channels], random(3, channels), random(channels, 4)
    wide, delta, scale = random(tokens, HIDDEN), random(tokens, HIDDEN), random(HIDDEN)
    o, gate, head = random(tokens, HEADS, DIM), random(tokens, HEADS, DIM), random(DIM)
    rows: list[tuple[str, Callable[[], object], int]] = [
        ("short convolution", lambda: conv.short_conv(x, weight, tail), 2 * tokens * channels),
        ("RMS norm", lambda: norm.rms_norm(wide, scale, 1e-5), 2 * wide.numel()),
        ("residual and RMS norm", lambda: norm.add_rms_norm(wide, delta, scale, 1e-5), 4 * wide.numel()),
        ("gated RMS norm", lambda: norm.gated_rms_norm(o, gate, head, 1e-5), 3 * o.numel()),
    ]
    yield f"| {tokens:,} tokens | us | share of copy |"
    yield "|---|---|---|"
    for name, work, numbers in rows:
        ms = milliseconds(work)
        yield f"| {name} | {ms * 1e3:.1f} | {2 * numbers / ms * 1e3 / copy_speed():.0%} |"
    yield (f"\nthe prefill's floor at 131,072 tokens: {10 * 131_072 * 32 * 128 / copy_speed() * 1e3:.2f} ms of bytes, "
                 f"{131_072 / 64 * 32 * 11.5e6 / matmul_speed() * 1e3:.2f} ms of operations")  # fmt: skip
