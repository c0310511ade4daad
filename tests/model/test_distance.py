"""Distances share the buckets that the library's MPNet has for them, and attention's bias is looked up by them."""

import pytest
import torch

from model import distance


@pytest.mark.parametrize("buckets", [4, 32, 64])
def test_buckets_are_the_library_s(buckets: int) -> None:
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    apart = torch.arange(-600, 601)
    theirs = MPNetEncoder.relative_position_bucket(apart, num_buckets=buckets)
    assert torch.equal(distance.bucket(apart, buckets), theirs)


@pytest.mark.parametrize("tokens", [1, 2, 300])
def test_each_query_finds_its_distance_to_each_key(tokens: int) -> None:
    table = torch.randn(32, 3, generator=torch.Generator().manual_seed(1))
    place = torch.arange(tokens)
    expected = table[distance.bucket(place - place[:, None])].permute(2, 0, 1)
    assert torch.equal(distance.bias(table, tokens), expected)
