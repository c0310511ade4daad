"""Compensated rounding loses less of the outputs than the nearest levels do, on the very grid that is stored."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.engine import Engine
from model.quantize import quantize
from model.training import compensate as module
from model.training.compensate import compensate, look

MINI = Path(module.__file__).parents[1] / "mini"


def inputs(columns: int = 128) -> Tensor:
    """Numbers that say much of each other, a few of them far larger than the others [4000, columns]."""
    draw = torch.Generator().manual_seed(1)
    mixed = torch.randn(4000, 24, generator=draw) @ torch.randn(24, columns, generator=draw)
    sizes = torch.logspace(-1, 1, columns)[torch.randperm(columns, generator=draw)]
    return (mixed + 0.5 * torch.randn(4000, columns, generator=draw)) * sizes


def weights(columns: int = 128) -> Tensor:
    return torch.randn(48, columns, generator=torch.Generator().manual_seed(2))


def lost(x: Tensor, weight: Tensor, stored: Tensor) -> float:
    """Of the outputs' mean square, the share that is wrong."""
    return float((x @ (weight - stored).T).square().mean() / (x @ weight.T).square().mean())


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_less_of_the_outputs_is_lost_than_by_the_nearest_levels(bits: int) -> None:
    x, weight = inputs(), weights()
    mine = compensate(weight, x.T @ x / len(x), bits).values(torch.float32)
    assert lost(x, weight, mine) < 0.3 * lost(x, weight, quantize(weight, bits).values(torch.float32))


def test_it_is_stored_as_the_nearest_levels_are() -> None:
    x, weight = inputs(192), weights(192)
    mine, plain = compensate(weight, x.T @ x, 4), quantize(weight, 4)
    for one, other in zip((mine.q, mine.scale, mine.zero), (plain.q, plain.scale, plain.zero), strict=True):
        assert (one.shape, one.dtype, one.is_contiguous()) == (other.shape, other.dtype, True)
    assert (mine.bits, mine.group) == (4, 64)
    back = mine.values(torch.float32).unflatten(1, (-1, 64))
    wanted = mine.levels.unflatten(1, (-1, 64)).float() * mine.scale.float()[..., None] + mine.zero.float()[..., None]
    assert torch.equal(back, wanted)
    assert int(mine.levels.max()) == 15


def test_weights_that_are_on_the_grid_stay_where_they_are() -> None:
    x = inputs()
    weight = torch.randint(0, 16, (3, 128), generator=torch.Generator().manual_seed(3)).float()
    weight[:, 0], weight[:, 64], weight[:, 1], weight[:, 65] = 0, 0, 15, 15  # the whole range in every group
    assert torch.equal(compensate(weight, x.T @ x, 4).values(torch.float32), weight)


def test_numbers_that_say_nothing_of_each_other_get_their_nearest_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHRINK", (1.0,))
    weight = weights()
    assert torch.equal(compensate(weight, torch.eye(128), 4).q, quantize(weight, 4).q)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = inputs(), weights()
    whole = compensate(weight, x.T @ x, 4)
    monkeypatch.setattr(module, "ROWS", 7)
    assert (compensate(weight, x.T @ x, 4).levels == whole.levels).float().mean() > 0.99  # sums may round elsewhere


def test_what_the_head_reads_is_the_same_in_one_piece_and_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.load(MINI, dtype=torch.float32)
    ids = torch.tensor(engine.tokenizer.encode("The mill stood by the river, and nobody knew who had built it. " * 6))
    whole = look(engine, [ids])
    monkeypatch.setattr(module, "PIECE", 32)
    assert torch.allclose(whole, look(engine, [ids]), atol=1e-3 * float(whole.diagonal().mean()))
    hidden = engine.model(ids, engine.empty())
    open_words = 1 - engine.model.logits(hidden).softmax(-1).square().sum(-1)
    expected = sum(w * torch.outer(h, h) for w, h in zip(open_words, hidden, strict=True)) / open_words.sum()
    assert torch.allclose(whole, expected, atol=1e-3 * float(whole.diagonal().mean()))
