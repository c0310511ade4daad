"""The student that training moves is transformers' Kimi Linear: the same weights give the same logits."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import KimiLinearForCausalLM

from model.training.export import checkpoint
from model.training.packing import make_pack
from tests.model.training.tiny import CONFIG, student


def test_student_equals_transformers(tmp_path: Path) -> None:
    model = student()
    tensors = {name: value for name, (value, _) in checkpoint(model).items()}
    save_file(tensors, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    oracle = KimiLinearForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ids = torch.randint(0, CONFIG["vocab_size"], (24,), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        oracle.lm_head.weight.copy_(model.embed)  # transformers does not tie this model's head
        theirs = oracle(ids[None]).logits[0]
        mine = model(ids, make_pack([24])) @ model.embed.T
    assert torch.allclose(mine, theirs, atol=1e-4)
