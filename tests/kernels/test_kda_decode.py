"""KDA's decode: the reference is a step of the recurrence, and the Triton form agrees, row by row and in place."""

from typing import Any

import pytest
import torch
from torch import Tensor

from kernels import kda, kda_decode
from kernels.kda_decode import DecodeWeights
from tests.kernels.device import DEVICE, ON_GPU

SHAPES = [(32, 128), (9, 64)] if ON_GPU else [(2, 16), (1, 64)]
BATCHES = [1, 8, 64, 128] if ON_GPU else [1, 3]
TAPS = 4


def draw(batch: int, heads: int, dim: int, seed: int = 0, device: torch.device = DEVICE) -> dict[str, Any]:
    """Arguments of `decode`: slices of one projection, as in the layer, with gates of the real checkpoint's size."""
    random = torch.Generator(device).manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, device=device)

    channels = heads * dim
    projected = noise(batch, 3 * channels + heads).bfloat16()
    norm, conv = (1 + 0.2 * noise(dim)).bfloat16(), 0.5 * noise(3 * channels, TAPS)
    a_log = torch.linspace(5.3, -3, heads, device=device)
    return {
        "qkv": projected[:, : 3 * channels], "beta": projected[:, 3 * channels :],
        "raw": (4 * noise(batch, heads, dim) - 3).bfloat16(), "gate": noise(batch, heads, dim).bfloat16(),
        "weights": DecodeWeights(conv.bfloat16(), a_log, noise(channels), norm, 1e-5),
        "tail": noise(batch, TAPS - 1, 3 * channels).bfloat16(), "state": noise(batch, heads, dim, dim),
    }  # fmt: skip


def exact(given: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """The step in float64, with the convolution's result rounded to bfloat16 as in the layer."""
    w, heads, dim = given["weights"], *given["state"].shape[1:3]
    window = torch.cat([given["tail"], given["qkv"][:, None]], 1)
    x = torch.nn.functional.silu(torch.einsum("bwc,cw->bc", window.double(), w.conv.double())).bfloat16().double()
    q, k, v = x.unflatten(-1, (3, heads, dim)).unbind(1)
    q, k = (y * (y.square().sum(-1, keepdim=True) + 1e-6).rsqrt() for y in (q, k))
    soft = torch.nn.functional.softplus(given["raw"].double() + w.dt_bias.view(heads, dim).double(), threshold=1000.0)
    decay = torch.exp(-w.a_log.double().exp()[:, None] * soft)
    state = given["state"].double() * decay[..., None]
    wrong = v - torch.einsum("bhk,bhkv->bhv", k, state)
    state = state + k[..., None] * (given["beta"].double().sigmoid()[..., None] * wrong)[:, :, None]
    o = torch.einsum("bhk,bhkv->bhv", q * dim**-0.5, state)
    o = o * (o.square().mean(-1, keepdim=True) + w.eps).rsqrt() * w.norm.double() * given["gate"].double().sigmoid()
    return o, window[:, 1:], state


def check(found: tuple[Tensor, Tensor, Tensor], given: dict[str, Any]) -> None:
    """The output at bfloat16's precision, the tail exactly, the state at float32's (v may round to its neighbour)."""
    y, tail, state = exact(given)
    assert found[0].dtype == torch.bfloat16
    assert float((found[0].double() - y).norm() / y.norm()) < 5e-3
    assert torch.equal(found[1], tail)
    assert float((found[2].double() - state).norm() / state.norm()) < 1e-3


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Triton form, on whatever device."""
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")


def test_the_reference_is_a_step_of_the_recurrence() -> None:
    given = draw(3, 2, 16, device=torch.device("cpu"))
    assert float(kda.gate(given["raw"], given["weights"].a_log, given["weights"].dt_bias.view(2, 16)).min()) < -1000
    check(kda_decode.reference(**given), given)
    check(kda_decode.reference(**given, in_place=True), draw(3, 2, 16, device=torch.device("cpu")))


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("heads", "dim"), SHAPES)
def test_triton_is_a_step_of_the_recurrence(batch: int, heads: int, dim: int) -> None:
    given = draw(batch, heads, dim)
    before = {name: x.clone() for name, x in given.items() if isinstance(x, Tensor)}
    check(kda_decode.decode(**given), given)
    assert all(torch.equal(given[name], x) for name, x in before.items())


@pytest.mark.usefixtures("triton")
def test_in_place_the_given_state_moves_on() -> None:
    given, other = (draw(BATCHES[-1], *SHAPES[0]) for _ in range(2))
    apart = kda_decode.decode(**given)
    y, tail, state = kda_decode.decode(**other, in_place=True)
    assert tail is other["tail"]
    assert state is other["state"]
    assert all(torch.equal(x, z) for x, z in zip(apart, (y, tail, state), strict=True))


@pytest.mark.usefixtures("triton")
def test_a_document_does_not_depend_on_its_neighbours() -> None:
    given = draw(BATCHES[-1], *SHAPES[0])
    together = kda_decode.decode(**given)
    for n in range(0, BATCHES[-1], 2):
        row = {name: x[n : n + 1] if isinstance(x, Tensor) else x for name, x in given.items()}
        assert all(torch.equal(x[n], z[0]) for x, z in zip(together, kda_decode.decode(**row), strict=True))


@pytest.mark.usefixtures("triton")
def test_what_is_settled_may_be_read_early_and_is_the_same() -> None:
    given, other = (draw(BATCHES[-1], *SHAPES[0]) for _ in range(2))
    for x, z in zip(kda_decode.decode(**given), kda_decode.decode(**other, settled=True), strict=True):
        assert torch.equal(x, z)


if ON_GPU:

    @pytest.mark.usefixtures("triton")
    def test_a_cuda_graph_replays_it() -> None:
        given, other = (draw(8, *SHAPES[0]) for _ in range(2))
        kda_decode.decode(**draw(8, *SHAPES[0], seed=1), in_place=True)  # compiled before the capture
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y, _, _ = kda_decode.decode(**given, in_place=True)
        for _ in range(3):
            graph.replay()
            expected, _, _ = kda_decode.decode(**other, in_place=True)
            assert torch.equal(y, expected)
        assert torch.equal(given["state"], other["state"])
