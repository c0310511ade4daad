"""A matrix times 1 to 8 tokens on a GPU: our kernel from bfloat16, fp8 and int4, and PyTorch's product beside it."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from kernels import quant
from kernels.quant import Weights
from tests.bench.timing import ceilings, copy_speed, graphed_milliseconds
from tests.kernels.device import DEVICE, ON_GPU

SHAPES = {"KDA input": (12_576, 2304), "output": (2304, 4096), "head": (163_840, 2304)} if ON_GPU else {"dry": (6, 128)}
CACHE = 128 << 20
"""Bytes that a GPU's cache does not hold: so many copies of the matrix take turns."""


def run() -> Iterator[str]:
    """The table."""
    from kernels import linear_triton  # after tests.kernels.device has said whether Triton is interpreted

    yield from [ceilings(), ""]
    yield "| matrix | tokens | form | us | share of copy | PyTorch bf16 us |"
    yield "|---|---|---|---|---|---|"
    for name, (rows, width) in SHAPES.items():
        whole = torch.randn(rows, width, device=DEVICE).bfloat16()
        forms: dict[str, Weights] = {"bf16": whole, "fp8": quant.to_fp8(whole), "int4": quant.to_int4(whole)}
        for tokens in (1, 2, 4, 8):
            x = torch.randn(tokens, width, device=DEVICE).bfloat16()
            for form, weight in forms.items():
                parts = [weight] if isinstance(weight, torch.Tensor) else list(vars(weight).values())
                size = sum(part.numel() * part.element_size() for part in parts)
                turns = [copied(weight) for _ in range(CACHE // size + 1 if ON_GPU else 1)]
                ms = graphed_milliseconds(lambda: [linear_triton.linear(x, turn) for turn in turns]) / len(turns)  # noqa: B023
                torch_us = ""
                if isinstance(weight, torch.Tensor):
                    theirs = graphed_milliseconds(lambda: [F.linear(x, turn) for turn in turns]) / len(turns)  # type: ignore[arg-type]  # noqa: B023
                    torch_us = f"{theirs * 1e3:.1f}"
                share = size / ms * 1e3 / copy_speed()
                yield f"| {name} {rows:,} x {width:,} | {tokens} | {form} | {ms * 1e3:.1f} | {share:.0%} | {torch_us} |"


def copied(weight: Weights) -> Weights:
    """The same numbers elsewhere in memory."""
    if isinstance(weight, torch.Tensor):
        return weight.clone()
    return type(weight)(*(part.clone() for part in vars(weight).values()))
