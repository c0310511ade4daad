"""KDA's step on a processor, against `kda_decode.reference`."""

import numpy as np
import pytest
import torch

from kernels import kda_decode
from kernels.kda_decode_numba import decode
from tests.kernels.test_kda_decode import draw
from tests.kernels.test_mla_decode_numba import bits


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float32])
def test_three_steps_are_the_references(stored: torch.dtype) -> None:
    heads, dim = 3, 64
    expected_state = tail = None
    for step in range(3):
        given = draw(1, heads, dim, seed=step, device=torch.device("cpu"))
        w = given["weights"]
        if expected_state is None:
            expected_state, tail = given["state"], given["tail"].to(stored)
            kept = tail[0].clone()
            arrays = (bits(kept), expected_state[0].clone().numpy())
        conv, a_log, bias, norm, eps = w.conv.float(), w.a_log.float(), w.dt_bias.float(), w.norm.float(), w.eps
        y, tail, expected_state = kda_decode.reference(
            given["qkv"].to(stored), given["raw"].float(), given["gate"].float(), given["beta"].float(),
            kda_decode.DecodeWeights(conv, a_log, bias, norm, eps), tail, expected_state,
        )  # fmt: skip
        out = np.empty(heads * dim, np.float32)
        decode(
            *(given[name].float().reshape(-1).numpy() for name in ("qkv", "raw", "gate", "beta")),
            np.ascontiguousarray(conv.t().numpy()), (-a_log.exp()).numpy(), bias.numpy(), norm.numpy(), np.float32(eps),
            *arrays, out,
        )  # fmt: skip
        rounding = 5e-3 if stored == torch.bfloat16 else 1e-5  # the reference rounds what the convolution gives
        assert float((torch.from_numpy(out) - y.flatten()).norm() / y.norm()) < rounding
        assert float((torch.from_numpy(arrays[1]) - expected_state[0]).norm() / expected_state.norm()) < rounding
        assert torch.equal(kept, tail[0])
