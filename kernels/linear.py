"""Matrix times tokens, with a way of its own for a single token."""

import torch
import torch.nn.functional as F
from torch import Tensor


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x [T, D], weight [O, D] -> [T, O].

    One token on a CPU is a matrix-vector product, which PyTorch runs nearer to memory speed when told so: 16 against
    11 GB/s for 1865 x 576 in bfloat16 on two cores with AMX (2026-11-24).
    """
    if x.shape[0] == 1 and x.device.type == "cpu":
        return torch.mv(weight, x[0])[None]
    return F.linear(x, weight)
