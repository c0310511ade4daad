"""What attention adds for how far a token stands from another: T5's bias (Raffel et al., 2020, arXiv 1910.10683).

All distances share few buckets, and each bucket has a number for each head. MPNet (Song et al., 2020, arXiv 2004.09297)
has one such table for all of its layers.
"""

import math

import torch
from torch import Tensor

BUCKETS = 32
FARTHEST = 128
"""Tokens between two from which on all distances are one."""


def bucket(distance: Tensor, buckets: int = BUCKETS) -> Tensor:
    """The bucket of each distance, int64, from a token to one so many places further on: each of the nearest has its
    own, the others share theirs by the distance's logarithm. buckets: a multiple of 4, less than 4 * FARTHEST."""
    half = buckets // 2
    exact = half // 2
    away = distance.abs()
    far = exact + (torch.log(away.clamp_min(1).float() / exact) / math.log(FARTHEST / exact) * (half - exact)).long()
    return torch.where(away < exact, away, far.clamp_max(half - 1)) + half * (distance > 0)


def bias(table: Tensor, tokens: int) -> Tensor:
    """What each head adds to the score of query i for key j [H, T, T]: table [buckets, H] at the bucket of j - i."""
    apart = torch.arange(1 - tokens, tokens, device=table.device)
    each = table[bucket(apart, len(table))].t()  # [H, 2T - 1]
    return each.unfold(1, tokens, 1).flip(1)  # the last window begins at distance 0, and is the first query's
