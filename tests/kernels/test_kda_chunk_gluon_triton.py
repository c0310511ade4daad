"""KDA's prefill in Gluon: off a GPU its lines run on PyTorch tensors, on one it stands beside the plain kernels.

On a GPU `test_kda_prefill` tests it too, since heads that fit take it.
"""

import pytest
import torch
from torch import Tensor

from kernels import kda_chunk_gluon_triton, kda_lanes_gluon_triton, kda_pass_gluon_triton, kda_prefill_triton
from tests.kernels.device import DEVICE, ON_GPU
from tests.kernels.gluon_on_torch_triton import stand_in, value
from tests.kernels.test_kda_prefill import KINDS, check, draw, error, exact

SHAPES = [(8, 128), (9, 64)] if ON_GPU else [(1, 128), (1, 64)]
LENGTHS = [1, 63, 64, 65, 300, 4097] if ON_GPU else [1, 65, 150]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels in Gluon, on whatever device."""
    monkeypatch.setattr(kda_prefill_triton, "GLUON", True)
    monkeypatch.setattr(kda_prefill_triton, "LONG", 1)
    if not ON_GPU:
        stand_in(monkeypatch, kda_lanes_gluon_triton, kda_chunk_gluon_triton, kda_pass_gluon_triton)
        for name, form in {"exp2": torch.exp2, "from_lane": from_lane, "choose": choose}.items():  # they are assembly
            for module in (kda_lanes_gluon_triton, kda_chunk_gluon_triton):
                monkeypatch.setattr(module, name, form)
        monkeypatch.setattr(kda_prefill_triton, "generation", lambda device: 9)


def from_lane(x: Tensor, far: int) -> Tensor:
    """`kda_lanes_gluon_triton.from_lane`"""
    return x[:, torch.arange(8) ^ far]


def choose(which: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`kda_lanes_gluon_triton.choose`"""
    return torch.where(value(which) == -1, a, b)


def prefill(*inputs: Tensor, save_at: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
    """Triton's form, every new tensor poisoned with NaN."""
    torch.use_deterministic_algorithms(True)
    try:
        return kda_prefill_triton.prefill(*inputs, save_at)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize(("heads", "dim"), SHAPES)
def test_it_is_the_recurrence(tokens: int, kind: str, heads: int, dim: int) -> None:
    inputs = draw(tokens, kind, heads, dim, seed=tokens)
    check(prefill(*inputs), exact(inputs))


@pytest.mark.usefixtures("named")
def test_states_come_out_anywhere_on_the_way_and_segments_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = draw(330, "usual", 1, 64)
    places = (1, 64, 100, 329, 330)
    whole = prefill(*inputs, save_at=places)
    check(whole, exact(inputs, places))
    monkeypatch.setattr(kda_prefill_triton, "MIN_CHUNKS", 2)
    assert kda_prefill_triton.segment_count(2, 8) == 4
    assert max(error(x, y.double()) for x, y in zip(prefill(*inputs, save_at=places), whole, strict=True)) < 5e-3


@pytest.mark.usefixtures("named")
def test_sequences_go_side_by_side_and_inputs_may_be_views() -> None:
    rows = [draw(70, "extreme", 1, 64, seed=n) for n in range(2)]
    q, k, v, raw, beta, state = (torch.stack([row[n] for row in rows]) for n in (0, 1, 2, 3, 4, 7))
    wide = torch.cat([q, k, v, raw], -2)
    views = wide.unflatten(-2, (4, 1)).unbind(-3)
    together = prefill(*views, beta, *rows[0][5:7], state)
    for n, row in enumerate(rows):
        alone = prefill(*row[:5], *rows[0][5:7], row[7])
        assert all(torch.equal(x[n], y) for x, y in zip(together, alone, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("dim", [32, 64])
def test_only_heads_that_fit_take_it(dtype: torch.dtype, dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(kda_prefill_triton, "LONG", 1)
    monkeypatch.setattr(kda_prefill_triton, "generation", lambda device: 9)
    monkeypatch.setattr(kda_chunk_gluon_triton, "fill", lambda *_: taken.append("chunks"))
    monkeypatch.setattr(kda_pass_gluon_triton, "carry", lambda *_: taken.append("pass"))
    inputs = draw(5, "usual", 1, dim)
    kda_prefill_triton.prefill(*inputs[:2], inputs[2].to(dtype), *inputs[3:])
    assert taken == (["chunks", "pass"] if dim == 64 and dtype != torch.float32 else [])


def test_a_question_keeps_the_plain_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(kda_prefill_triton, "generation", lambda device: 9)
    monkeypatch.setattr(kda_prefill_triton, "LONG", 2)
    monkeypatch.setattr(kda_chunk_gluon_triton, "fill", lambda chunks, *_: [x.zero_() for x in chunks])
    monkeypatch.setattr(kda_pass_gluon_triton, "carry", lambda chunks, *_: taken.append(len(chunks[0])))
    for tokens in (64, 65, 200):
        kda_prefill_triton.prefill(*draw(tokens, "usual", 1, 64))
    assert taken == [2, 4]


if ON_GPU:

    @pytest.mark.usefixtures("named")
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(("heads", "dim"), SHAPES)
    def test_with_and_without_it(kind: str, heads: int, dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
        inputs = draw(1000, kind, heads, dim, device=DEVICE)
        with_it = prefill(*inputs)
        monkeypatch.setattr(kda_prefill_triton, "GLUON", False)
        without = prefill(*inputs)
        check(without, exact(inputs))
        assert max(error(x, y.double()) for x, y in zip(with_it, without, strict=True)) < 2 * 5e-3
