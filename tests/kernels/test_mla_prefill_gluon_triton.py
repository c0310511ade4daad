"""MLA prefill with its warps told apart: on a GPU against float64 like the plain kernel; elsewhere, who takes it."""

import pytest
import torch

from kernels import mla_prefill_gluon_triton, mla_prefill_triton
from tests.kernels.device import DEVICE, ON_GPU
from tests.kernels.test_mla_prefill_triton import MINI, PUBLISHED, check, draw

RANGES = [(1, [1]), (65, [65]), (129, [129]), (64, [4096, 100]), (4097, [4096, 4096, 1000])]


def test_it_takes_only_the_shapes_it_is_made_for() -> None:
    for dtype, shape, fits in [
        (torch.bfloat16, PUBLISHED, True),
        (torch.bfloat16, MINI, False),
        (torch.float32, PUBLISHED, False),
    ]:
        heads, nope, _, value, _ = shape
        q, _, _ = draw(shape, 2, [2], dtype)
        kv = torch.empty(2, heads, nope + value, dtype=dtype, device=DEVICE)
        assert mla_prefill_gluon_triton.fits(q, kv, nope) == fits


if ON_GPU:

    @pytest.mark.parametrize(("tokens", "lengths"), RANGES)
    @pytest.mark.parametrize("causal", [False, True])
    @pytest.mark.parametrize("past", [False, True])
    @pytest.mark.parametrize("gluon", [False, True])
    def test_with_and_without_it(
        tokens: int, lengths: list[int], causal: bool, past: bool, gluon: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mla_prefill_triton, "GLUON", gluon)
        check(PUBLISHED, tokens, lengths, causal, torch.bfloat16, past)
