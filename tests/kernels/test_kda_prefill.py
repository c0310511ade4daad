"""KDA's prefill: the reference is the recurrence, and the Triton form agrees with both, for gates of any size.

Off a GPU the Triton form runs in its interpreter at small sizes, in the same float16 and bfloat16 arithmetic.
"""

from itertools import product

import pytest
import torch
from torch import Tensor

from kernels import kda, kda_prefill, kda_prefill_numba
from tests.kernels.device import DEVICE, ON_GPU

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def draw(tokens: int, kind: str, heads: int, dim: int, seed: int = 0, device: torch.device = DEVICE) -> Inputs:
    """Random (q, k, v, raw, beta, a_log, dt_bias, state) as the layers around leave them, in bfloat16 where they do."""
    random = torch.Generator(device).manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, device=device)

    qkv = torch.nn.functional.silu(noise(tokens, 3, heads, dim)).bfloat16()
    q, k, v = qkv.unbind(1)
    a_log, bias = torch.linspace(-3, 2.8, heads, device=device), 0.5 * noise(heads, dim) - 4
    raw = noise(tokens, heads, dim)
    if kind == "extreme":  # exp(a_log) to 201, |g| to 2,661 for a token and some 6e4 over a chunk
        a_log = torch.linspace(5.3, -3, heads, device=device)
        raw = torch.where(torch.rand(raw.shape, generator=random, device=device) < 0.4, 5.0 + 9 * raw.abs(), raw)
    if kind == "repeated":  # one key over and over, written with full strength, hardly decaying
        k = k[:1].expand_as(k)
        return q, k, v, (raw - 6).bfloat16(), noise(tokens, heads).bfloat16() + 6, a_log, bias, noise(heads, dim, dim)
    return q, k, v, raw.bfloat16(), noise(tokens, heads).bfloat16(), a_log, bias, noise(heads, dim, dim)


def of_heads(inputs: Inputs, some: slice) -> Inputs:
    """The inputs of some of the heads."""
    q, k, v, raw, beta, a_log, bias, state = inputs
    return q[:, some], k[:, some], v[:, some], raw[:, some], beta[:, some], a_log[some], bias[some], state[some]


def exact(inputs: Inputs, save_at: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
    """The recurrence in float64: o, the new state, the saved ones. (Its chunked form beyond 5,000 tokens.)"""
    q, k, v, raw, beta, a_log, bias, state = (x.double() for x in inputs)
    unit_q, unit_k = (x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt() for x in (q, k))
    x = raw + bias
    g = -a_log.exp()[:, None] * (x.clamp_min(0) + torch.log1p((-x.abs()).exp()))
    scan = kda.recurrent if q.shape[0] < 5000 else kda.chunked
    outs, saved = [], []
    for start, end in zip((0, *save_at), (*save_at, q.shape[0]), strict=True):
        if start < end:
            piece = slice(start, end)
            rows = (unit_q[piece] * q.shape[-1] ** -0.5, unit_k[piece], v[piece], g[piece], beta[piece].sigmoid())
            o, state = scan(*rows, state)
            outs.append(o)
        saved.append(state)
    return torch.cat(outs), state, torch.stack(saved)[:-1]


def error(found: Tensor, expected: Tensor) -> float:
    """Relative error in norm; infinite where anything is not finite."""
    assert found.shape == expected.shape
    if not torch.isfinite(found).all():
        return float("inf")
    return float((found.double() - expected).norm() / expected.norm().clamp_min(1e-30))


def check(found: tuple[Tensor, Tensor, Tensor], expected: tuple[Tensor, Tensor, Tensor], bound: float = 5e-3) -> None:
    """Outputs, state and saved states are within `bound`."""
    assert [name for name, *pair in zip(("o", "state", "saved"), found, expected, strict=True)
            if not error(*pair) < bound] == []  # fmt: skip


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Triton form, on whatever device."""
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")


def prefill(*inputs: Tensor, save_at: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
    """`kda_prefill.prefill`, every new tensor poisoned with NaN."""
    q, k, v, raw, beta, a_log, bias, state = inputs
    torch.use_deterministic_algorithms(True)
    try:
        return kda_prefill.prefill(q, k, v, raw, beta, a_log, bias, state, save_at)
    finally:
        torch.use_deterministic_algorithms(False)


SHAPES = [(32, 128), (9, 64)] if ON_GPU else [(2, 64)]
LENGTHS = [1, 63, 64, 65, 300] + ([4097, 131_072] if ON_GPU else [])
KINDS = ["usual", "extreme", "repeated"]
SMALL = SHAPES[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_is_the_recurrence(kind: str) -> None:
    inputs = draw(150, kind, 2, 16, device=torch.device("cpu"))
    places = (1, 64, 100, 150)
    check(kda_prefill.reference(*inputs, save_at=places), exact(inputs, places))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [2, 7, 150])
def test_a_processors_own_kernel_is_the_recurrence(tokens: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONCEREAD_KERNELS", raising=False)
    monkeypatch.setattr(kda_prefill, "MANY", 1)
    inputs = draw(tokens, kind, 3, 16, device=torch.device("cpu"))
    before, places = inputs[-1].clone(), tuple(n for n in (1, 64, 100, 150) if n <= tokens)
    check(kda_prefill.prefill(*inputs, save_at=places), exact(inputs, places), bound=1e-5)
    assert torch.equal(inputs[-1], before)
    check(kda_prefill.prefill(*[x.float() for x in inputs], save_at=places), exact(inputs, places), bound=1e-5)
    monkeypatch.setattr(kda_prefill_numba, "scan", None)
    with pytest.raises(TypeError):  # it was the kernel
        kda_prefill.prefill(*inputs)
    kda_prefill.prefill(*inputs[:7], inputs[7].double())  # it is not asked for those
    monkeypatch.undo()
    kda_prefill.prefill(*inputs)  # nor for so few tokens


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_no_number(threads: int) -> None:
    inputs = draw(20, "usual", 3, 16, device=torch.device("cpu"))
    usual, before = kda_prefill_numba.prefill(*inputs), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = kda_prefill_numba.prefill(*inputs)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(found, usual, strict=True))


def test_many_documents_are_read_each_by_itself() -> None:
    one, other = (draw(9, "usual", 2, 16, seed=n, device=torch.device("cpu")) for n in range(2))
    both = [torch.stack(pair) for pair in zip(one, other, strict=True)]
    found = kda_prefill_numba.prefill(*both[:5], *one[5:7], both[7])
    for n, each in enumerate((one, (*other[:5], *one[5:7], other[7]))):
        expected = kda_prefill_numba.prefill(*each)
        assert all(torch.equal(a[n], b) for a, b in zip(found, expected, strict=True))


# One key for 131,072 tokens is left out: rounding adds up where nothing decays (0.7 % in o, 1.0 % in the state, FLA's
# kernel 0.6 and 0.7 %, on an H100).
@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize(("tokens", "kind"), [x for x in product(LENGTHS, KINDS) if x != (131_072, "repeated")])
@pytest.mark.parametrize(("heads", "dim"), SHAPES)
def test_triton_is_the_recurrence(tokens: int, kind: str, heads: int, dim: int) -> None:
    inputs = draw(tokens, kind, heads, dim, seed=tokens)
    o, state, saved = prefill(*inputs)
    assert o.dtype == torch.bfloat16
    some = slice(None, None, heads // 4 if tokens > 5000 else 1)  # in float64 not every head of a long one fits
    check((o[:, some], state[some], saved[:, some]), exact(of_heads(inputs, some)))


@pytest.mark.usefixtures("triton")
def test_the_published_head_size() -> None:
    inputs = draw(70, "extreme", SHAPES[0][0] if ON_GPU else 1, 128)
    assert float(kda.gate(inputs[3], *inputs[5:7]).min()) < -2661
    check(prefill(*inputs), exact(inputs))


@pytest.mark.usefixtures("triton")
def test_states_come_out_anywhere_on_the_way() -> None:
    inputs = draw(200, "usual", *SMALL)
    places = (1, 64, 100, 199, 200)
    check(prefill(*inputs, save_at=places), exact(inputs, places))


@pytest.mark.usefixtures("triton")
def test_spans_and_segments_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    from kernels import kda_prefill_triton as module

    inputs = draw(330, "usual", *SMALL)
    whole = prefill(*inputs, save_at=(100, 250))
    monkeypatch.setattr(module, "SPAN", 192)
    spans = prefill(*inputs, save_at=(100, 250))
    monkeypatch.setattr(module, "SPAN", 1024)
    monkeypatch.setattr(module, "MIN_CHUNKS", 2)
    monkeypatch.setattr(module, "FILL", 4 * SMALL[0])
    assert module.segment_count(SMALL[0], 8) == 4
    segments = prefill(*inputs, save_at=(100, 250))
    for found in (spans, segments):
        check(found, exact(inputs, (100, 250)))
        assert max(error(x, y.double()) for x, y in zip(found, whole, strict=True)) < 2 * 5e-3


@pytest.mark.usefixtures("triton")
def test_sequences_go_side_by_side() -> None:
    rows = [draw(130, "usual", *SMALL, seed=n) for n in range(3)]
    weights = rows[0][5:7]
    batch = [torch.stack(x) for x in zip(*rows, strict=True)]
    together = prefill(*batch[:5], *weights, batch[7], save_at=(70,))
    for n, row in enumerate(rows):
        alone = prefill(*row[:5], *weights, row[7], save_at=(70,))
        assert all(torch.equal(x[n], y) for x, y in zip(together, alone, strict=True))


@pytest.mark.usefixtures("triton")
def test_two_runs_agree_to_the_bit_and_change_no_input() -> None:
    inputs = draw(200, "usual", *SMALL)
    before = [x.clone() for x in inputs]
    first, second = prefill(*inputs), prefill(*inputs)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(inputs, before, strict=True))


@pytest.mark.usefixtures("triton")
def test_a_long_document_read_in_pieces_keeps_its_state() -> None:
    """On a GPU a million tokens in pieces of 16k, the state against the float64 recurrence's chunked form."""
    pieces, tokens, heads = (64, 16_384, 4) if ON_GPU else (4, 130, 1)
    drawn = [draw(tokens, "usual", heads, SMALL[1], seed=n) for n in range(pieces)]
    state, wide = drawn[0][7], drawn[0][7].double()
    for piece in drawn:
        inputs = (*piece[:5], *drawn[0][5:7])
        _, state, _ = prefill(*inputs, state)
        _, wide, _ = exact((*inputs, wide))
    assert error(state, wide) < 5e-3


@pytest.mark.parametrize("places", [(0,), (5, 5), (7, 3), (11,)])
def test_states_can_only_be_saved_on_the_way(places: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascending numbers of tokens, 1 to 10"):
        kda_prefill.prefill(*draw(10, "usual", *SMALL), save_at=places)
