"""The engine bench counts what the design counted by hand, and tells distributions apart."""

import pytest
import torch

from model.config import KimiConfig
from model.transformer import Transformer
from tests.bench import engine_parity, engine_stages, synthetic


def test_operations_are_those_counted_for_the_real_shape() -> None:
    model = Transformer.on_meta(KimiConfig.from_keys(synthetic.reduced()))
    of_a_token = engine_stages.operations(model, 1, 0)
    assert of_a_token["experts"] + of_a_token["matrices"] == pytest.approx(5.5e9, rel=0.03)
    assert engine_stages.operations(model, 131_072, 0)["attention"] == pytest.approx(1.23e15, rel=0.01)
    whole = sum(engine_stages.operations(model, 16_384, past)["attention"] for past in range(0, 1 << 20, 16_384))
    assert whole == pytest.approx(78.8e15, rel=0.01)


def test_stages_know_the_kernels_by_name() -> None:
    named = {
        "_grouped": "experts", "_up": "experts", "_choose": "router", "attend_kernel": "attention",
        "_partial": "attention",
        "append_kernel": "attention", "chunk_kernel": "KDA", "decode_kernel": "KDA", "norm_kernel": "norms",
        "rows_kernel": "matrices", "nvjet_tst_128x256_64x4_2x1_v_bz_coopA_NTN": "matrices",
        "void at::native::reduce_kernel": "other",
    }  # fmt: skip
    assert {name: engine_stages.stage_of(name) for name in named} == named


def test_distributions_are_compared_in_nats_a_token() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.05, 0.0, -9.0]])
    assert engine_parity.compare(logits, logits).startswith("0.00e+00 | 0.00e+00 | 100.0% | 100.0% of 1")
    turned = logits.flip(-1)
    mean, most, agrees, clear = engine_parity.compare(logits, turned).split(" | ")
    p = logits.softmax(-1)
    assert float(mean) == pytest.approx(float((p * (logits - turned)).sum(-1).mean()), rel=0.01)
    assert float(most) > float(mean) > 0.5
    assert (agrees, clear) == ("0.0%", "0.0% of 1")
