"""The norms in Triton, a few whole rows a program: `norm.rms_norm`, `norm.add_rms_norm`, `norm.gated_rms_norm`."""

import torch

# mypy: allow-untyped-defs
import triton
import triton.language as tl
from torch import Tensor

from kernels.launch_triton import let_next, overlap, wait

NUMBERS = 4096
"""Numbers a program works on, at least one row."""


@triton.jit
def norm_kernel(
    x_ptr, other_ptr, weight_ptr, sum_ptr, out_ptr, rows, x_stride, other_stride, eps,
    D: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, ADD: tl.constexpr, GATE: tl.constexpr,
    RESULTS: tl.constexpr, OVERLAP: tl.constexpr,
):
    """out = x / rms(x) * weight. ADD: of x + other, which goes to `sum`. GATE: times sigmoid(other). RESULTS: other is
    in so many rows for each of x and, behind all of these, one more."""
    let_next(OVERLAP)
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    inside = (row < rows) & (column < D)
    weight = tl.load(weight_ptr + column, mask=column < D, other=0.0).to(tl.float32)
    wait(OVERLAP)
    x = tl.load(x_ptr + row * x_stride + column, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        if RESULTS:
            other = tl.zeros([ROWS, BLOCK], tl.float32)
            for k in tl.static_range(RESULTS):
                other += tl.load(other_ptr + (row * RESULTS + k) * other_stride + column, mask=inside, other=0.0)
            other += tl.load(other_ptr + (rows * RESULTS + row) * other_stride + column, mask=inside, other=0.0)
            other = other.to(sum_ptr.dtype.element_ty).to(tl.float32)  # as the layer would have handed it on
        else:
            other = tl.load(other_ptr + row * other_stride + column, mask=inside, other=0.0).to(tl.float32)
        total = (x + other).to(sum_ptr.dtype.element_ty)  # what is normed is the sum as it goes on
        tl.store(sum_ptr + row * D + column, total, mask=inside)
        x = total.to(tl.float32)
    y = x * tl.rsqrt(tl.sum(x * x, 1) / D + eps)[:, None]
    y *= weight
    if GATE:
        gate = tl.load(other_ptr + row * other_stride + column, mask=inside, other=0.0).to(tl.float32)
        y *= tl.sigmoid(gate)
    tl.store(out_ptr + row * D + column, y.to(out_ptr.dtype.element_ty), mask=inside)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`norm.rms_norm`."""
    return _launch(x, None, weight, eps, None, torch.empty(x.shape, dtype=x.dtype, device=x.device), gate=False)


def add_rms_norm(x: Tensor, delta: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """`norm.add_rms_norm`."""
    total, out = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for _ in range(2))
    return total, _launch(x, delta, weight, eps, total, out, gate=False)


def add_results_rms_norm(x: Tensor, results: Tensor, top_k: int, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """`add_rms_norm` of what `moe_few_triton.add_up` makes of results float32 [T (top_k+1), D], to the bit."""
    total, out = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for _ in range(2))
    return total, _launch(x, results, weight, eps, total, out, gate=False, results=top_k)


def gated_rms_norm(x: Tensor, gate: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`norm.gated_rms_norm`."""
    out = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    return _launch(x, gate, weight, eps, None, out, gate=True)


def _launch(
    x: Tensor, other: Tensor | None, weight: Tensor, eps: float, total: Tensor | None, out: Tensor, gate: bool,
    results: int = 0,
) -> Tensor:
    """Run `norm_kernel` over the rows of x into `out`."""
    width = x.shape[-1]
    x = _as_rows(x)
    other = x if other is None else _as_rows(other)
    block = triton.next_power_of_2(width)
    rows = max(1, NUMBERS // block)
    norm_kernel[(triton.cdiv(x.shape[0], rows),)](
        x, other, weight, x if total is None else total, out, x.shape[0], x.stride(0), other.stride(0), eps,
        D=width, BLOCK=block, ROWS=rows, ADD=total is not None, GATE=gate, RESULTS=results, num_warps=4,
        **overlap(x.device),
    )  # fmt: skip
    return out


def _as_rows(x: Tensor) -> Tensor:
    """x [..., D] as [rows, D], each row's numbers side by side."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if rows.stride(1) == 1 else rows.contiguous()
