"""The plan of memory: the published figures of the 48B, and on the CPU what is held in fact."""

from collections.abc import Callable

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from model import plan as module
from model.config import KimiConfig
from model.plan import CARDS, KINDS, plan, stages, weights_by_kind
from model.state import ModelState
from model.transformer import Transformer
from tests.bench import synthetic
from tests.checkpoints import CONFIG, PUBLISHED
from tests.kernels.device import DEVICE, ON_GPU

if not ON_GPU:
    from tests.kernels.interpreter_triton import faithful_bfloat16

    faithful_bfloat16()

BIG = KimiConfig.from_keys(PUBLISHED)
MILLION = 1_048_576


def big(context: int = MILLION) -> module.Plan:
    """The 48B on a GPU."""
    return plan(BIG, torch.bfloat16, "triton", context)


def test_weights_of_the_48b_by_kind() -> None:
    gigabytes = {form: {kind: round(n / 1e9, 1) for kind, n in kinds.items()} for form, kinds in big().weights.items()}
    rest = {"dense": 2.1, "embeddings": 1.5}
    assert gigabytes == {"bf16": {"experts": 94.6, **rest}, "fp8": {"experts": 47.3, **rest},
                         "int4": {"experts": 26.6, **rest}}  # fmt: skip
    assert sum(big().weights["bf16"].values()) / 2**30 == pytest.approx(91.5, abs=0.05)
    assert sum(big().weights["fp8"].values()) / 2**30 == pytest.approx(47.6, abs=0.2)


@pytest.mark.parametrize("form", ["bf16", "fp8", "int4"])
@pytest.mark.parametrize("tied", [False, True])
def test_kinds_add_up_to_the_model(form: module.Form, tied: bool) -> None:
    config = KimiConfig.from_keys(synthetic.reduced(5, 4, tie_word_embeddings=tied))
    kinds = weights_by_kind(config, torch.bfloat16, form)
    assert tuple(kinds) == KINDS
    assert sum(kinds.values()) == Transformer.on_meta(config, form, torch.bfloat16).nbytes
    assert kinds["embeddings"] == (1 if tied else 2) * 163_840 * 2304 * 2


def test_state_of_the_48b() -> None:
    made = big()
    assert made.fixed + 131_072 * made.per_token == pytest.approx(1.10e9, rel=0.005)
    assert made.fixed + MILLION * made.per_token == pytest.approx(8.50e9, rel=0.005)


def test_a_question_takes_a_fork_of_the_state() -> None:
    assert big().question == pytest.approx(43.4e6 + 4096 * 8064 + 163_840 * 4, rel=1e-3)


def test_workspace_does_not_grow_with_the_document() -> None:
    assert big(131_072).workspace == big(MILLION).workspace
    assert 2e9 < big().workspace < 4e9
    assert big(1000).workspace < big().workspace


def test_what_fits_where() -> None:
    made = big()
    assert made.needs("bf16", MILLION) < 125e9
    assert made.needs("fp8", 131_072) < 76e9
    longest = {card: {form: made.longest(form, mib << 20) for form in made.weights} for card, mib in CARDS.items()}
    assert longest["141 GB"] == {"bf16": MILLION, "fp8": MILLION, "int4": MILLION}
    assert longest["80 GB"] == {"bf16": 0, "fp8": MILLION, "int4": MILLION}
    assert longest["48 GB"] == {"bf16": 0, "fp8": 0, "int4": MILLION}
    assert longest["24 GB"] == {"bf16": 0, "fp8": 0, "int4": 0}
    for form, room in (("int4", 36e9), ("fp8", 60e9)):
        tokens = made.longest(form, int(room))  # type: ignore[arg-type]
        assert made.needs(form, tokens) <= room < made.needs(form, tokens + 4096)  # type: ignore[arg-type]


def test_a_form_that_the_experts_cannot_have_is_left_out() -> None:
    assert set(plan(KimiConfig.from_keys(CONFIG), torch.float32, "reference", 100).weights) == {"bf16"}


def test_constants_are_the_kernels() -> None:
    from kernels import kda_prefill_triton, mla_prefill_triton

    assert (module.SEGMENT, module.SPAN) == (mla_prefill_triton.SEGMENT, kda_prefill_triton.SPAN)


@pytest.mark.parametrize(("kernels", "tokens"), [("reference", 2048), ("triton", 8192 if ON_GPU else 128)])
@pytest.mark.parametrize(("height", "heads", "changes"), [
    ("kda", 4, {}),
    ("mla", 1, {"num_attention_heads": 8}),
    ("moe", 1, {"num_experts_per_token": 8, "moe_intermediate_size": 512}),
    ("dense", 1, {"intermediate_size": 4096}),
])  # fmt: skip
def test_it_is_what_a_chunk_takes_in_fact(
    kernels: str, tokens: int, height: str, heads: int, changes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONCEREAD_KERNELS", kernels)  # what Triton's interpreter is given, a GPU's kernels are too
    device = DEVICE if kernels == "triton" else torch.device("cpu")
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    small = {"num_attention_heads": 1, "num_experts_per_token": 1, "moe_intermediate_size": 128}
    linear = PUBLISHED["linear_attn_config"] | {"num_heads": heads, "kda_layers": [1], "full_attn_layers": [2]}
    sizes = {"hidden_size": 128, "vocab_size": 512, "intermediate_size": 128, "linear_attn_config": linear}
    model = synthetic.model(synthetic.reduced(2, 8) | sizes | small | changes, dtype, device)
    state = ModelState.empty(model.config, dtype, device)
    ids = torch.arange(tokens, device=device) % 500
    with torch.no_grad():
        model(ids, state)
        top = most_held(lambda: model(ids, state), device)
    planned = stages(model.config, dtype, kernels, tokens, tokens)
    assert max(planned, key=lambda name: planned[name]) == height
    assert 0.75 < top / planned[height] < 1.35


def most_held(work: Callable[[], object], device: torch.device) -> int:
    """Bytes of tensors that work holds at its height, beyond those before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as watched:
        work()
    events = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    held = top = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        top = max(top, held)
    return top
