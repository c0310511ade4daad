"""The engine bench counts what the design counted by hand, and tells distributions apart."""

from collections.abc import Iterator

import pytest
import torch

from app import reading
from kernels import linear
from model import decode
from model.config import KimiConfig
from model.engine import Engine
from model.transformer import Transformer
from tests import checkpoints
from tests.bench import engine, engine_parity, engine_resume, engine_stages, synthetic


def test_operations_are_those_counted_for_the_real_shape() -> None:
    model = Transformer.on_meta(KimiConfig.from_keys(synthetic.reduced()))
    of_a_token = engine_stages.operations(model, 1, 0)
    # Of 5.5e9 operations of a token and 1.23e15 of attention reading leaves the last layer's out: one of 27, one of 7.
    assert of_a_token["experts"] + of_a_token["matrices"] == pytest.approx(5.5e9 * 26 / 27, rel=0.03)
    assert engine_stages.operations(model, 131_072, 0)["attention"] == pytest.approx(1.23e15 * 6 / 7, rel=0.01)
    whole = sum(engine_stages.operations(model, 16_384, past)["attention"] for past in range(0, 1 << 20, 16_384))
    assert whole == pytest.approx(78.8e15 * 6 / 7, rel=0.01)


def test_stages_know_the_kernels_by_name() -> None:
    named = {
        "_grouped": "experts", "products_kernel": "experts", "_up": "experts", "_choose": "router",
        "_add_norm_logits": "router", "attend_kernel": "attention",
        "_partial": "attention",
        "append_kernel": "attention", "chunk_kernel": "KDA", "decode_kernel": "KDA", "norm_kernel": "norms",
        "rows_kernel": "matrices", "unabsorb_kernel": "matrices", "pair_kernel": "matrices",
        "nvjet_tst_128x256_64x4_2x1_v_bz_coopA_NTN": "matrices",
        "void at::native::reduce_kernel": "other",
    }  # fmt: skip
    assert {name: engine_stages.stage_of(name) for name in named} == named


def test_distributions_are_compared_in_nats_a_token() -> None:
    logits, experts = torch.tensor([[2.0, 0.0, 0.0], [0.05, 0.0, -9.0]]), torch.tensor([[[0, 1], [0, 2]]])
    expected = engine_parity.Said(logits, experts)
    assert engine_parity.compare(expected, expected) == (
        "0.00e+00 | 0.00e+00 | 100.0% | 100.0% of 1 | 0.00e+00 of 2"
    )
    turned = logits.flip(-1)
    found = engine_parity.Said(turned, torch.tensor([[[0, 1], [1, 2]]]))
    mean, most, agrees, clear, same = engine_parity.compare(expected, found).split(" | ")
    p = logits.softmax(-1)
    divergence = (p * (logits - turned)).sum(-1)
    assert float(mean) == pytest.approx(float(divergence.mean()), rel=0.01)
    assert float(most) > float(mean) > 0.5
    assert (agrees, clear, same) == ("0.0%", "0.0% of 1", f"{divergence[0]:.2e} of 1")


def test_a_part_that_fails_does_not_lose_those_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Engine) -> Iterator[str]:
        yield "a row"
        raise RuntimeError("out of something")

    def works(_: Engine) -> Iterator[str]:
        yield "another row"

    monkeypatch.setattr(engine, "LAYERS", 2)
    monkeypatch.setattr(engine, "short", fails)
    monkeypatch.setattr(engine, "many", works)
    monkeypatch.setattr(engine, "PARTS", "short,many")
    monkeypatch.setattr(engine, "ceilings", lambda: "")
    lines: list[str] = []
    with pytest.raises(SystemExit, match="stopped: short"):
        lines.extend(line for line in engine.run())
    assert lines.index("a row") < lines.index("another row")
    assert any("short stopped" in line and "RuntimeError: out of something" in line for line in lines)


@pytest.mark.parametrize("rows", [1, decode.FEW + 1])
def test_experts_of_a_step_are_counted_whichever_way_it_takes(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(linear, "FEW_ON_GPU", 0)  # thousands of programs, in the interpreter
    linears = checkpoints.PUBLISHED["linear_attn_config"]
    few_heads = {**linears, "num_heads": 2, "head_dim": 64, "kda_layers": [1, 2], "full_attn_layers": []}
    smaller = {"hidden_size": 64, "moe_intermediate_size": 32, "num_experts_per_token": 2}
    monkeypatch.setattr(engine, "SMALL", engine.SMALL | smaller | {"linear_attn_config": few_heads})
    built = engine.build(2, 16, "bf16")
    states = [built.read(built.empty(), engine.tokens(6, seed).tolist()) for seed in range(rows)]
    plain = engine.decode(built, states)[1]
    monkeypatch.setenv("ONCEREAD_KERNELS", "triton")
    monkeypatch.setattr(engine, "STEPS", 1)
    assert engine.decode(built, states)[1] == plain
    assert len(plain) == 1
    assert plain[0] == 2 if rows == 1 else 2 < plain[0] <= 16


def test_every_token_of_a_text_is_compared() -> None:
    built = engine.build(2, 4, "bf16")
    ids = engine.tokens(40).tolist()
    found = engine_parity.said(built, ids)
    assert found.logits.shape[0] == found.experts.shape[1] == 40
    last = built.next_logits(built.empty(), ids)[1]
    assert torch.allclose(found.logits[-1], last.cpu().flatten(), atol=1e-4)


def test_a_document_of_the_length_asked_for_is_read_saved_and_taken_up() -> None:
    lines = list(engine_resume.run(engine.build(4, 4, "bf16"), 300))
    count = next(int(line.split()[1].replace(",", "")) for line in lines if "not saved" in line)
    assert 300 <= count < 500
    assert sum("from the saved state" in line for line in lines) == 3
    assert any("read and saved" in line for line in lines)


def test_a_long_document_is_read_once_saved_and_once_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_resume, "LONG", 280)
    read: list[str] = []
    kept = reading.read
    monkeypatch.setattr(reading, "read", lambda home, document: read.append(document) or kept(home, document))
    lines = list(engine_resume.run(engine.build(4, 4, "bf16"), 300))
    assert len(read) == 2  # the opening, for what a first reading compiles, and the whole
    assert sum("saved" in line for line in lines) == 6
