"""Heads that say what others say are left out without loss; of others the least is lost."""

from pathlib import Path

import pytest
import torch

from model.engine import Engine
from model.mla import MLA
from model.training import prune
from model.training.packing import make_pack
from model.training.start import load_student, save_start
from model.training.student import Student
from tests.model.training.tiny import CONFIG, student

IDS = torch.randint(0, 320, (40,), generator=torch.Generator().manual_seed(5))
HEADS = 4


def with_heads() -> Student:
    """A student with four heads, of which the third and the last say what the first says, the last louder."""
    torch.manual_seed(2)
    made = Student(CONFIG | {"num_attention_heads": HEADS, "num_key_value_heads": HEADS})
    state = student().state_dict()
    with torch.no_grad():
        for name, p in made.state_dict().items():
            if p.shape == state[name].shape:
                p.copy_(state[name])
            else:
                p.normal_(0, p.shape[-1] ** -0.5)
        attention = made.layers[3].attention
        q, kv = (p.unflatten(0, (HEADS, -1)) for p in (attention.q_proj, attention.kv_b_proj))
        q[2], q[3], kv[2] = q[0], q[0], kv[0]
        kv[3] = kv[0]
        kv[3, attention.nope :] *= 3
    return made


def test_heads_that_repeat_others_are_left_out_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    made = with_heads()
    attention = made.layers[3].attention
    pack = make_pack([len(IDS)])
    with torch.no_grad():
        before = made(IDS, pack)
        heads: list[torch.Tensor] = []
        mix = attention.mix

        def kept(x: torch.Tensor, pack: object) -> tuple[torch.Tensor, None]:
            heads.append(mix(x, pack)[0])
            return heads[-1], None

        monkeypatch.setattr(attention, "mix", kept)
        made(IDS, pack)
        flat = heads[0].flatten(1)
        fewer = prune.prune(made, [flat.T @ flat], 2)
        after = fewer(IDS, pack)
    assert fewer.config["num_attention_heads"] == fewer.config["num_key_value_heads"] == 2
    assert torch.allclose(before, after, atol=2e-2)


def test_that_head_is_kept_from_which_most_can_be_told() -> None:
    said = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).repeat_interleave(2, 1)
    said[:, 2:4] = said[:, :2] * 0.5 + 0.01 * said[:, 4:]
    output = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    kept, found = prune.choose(said.T @ said, output, 3, 2)
    assert 2 in kept
    at = [n for head in kept for n in (2 * head, 2 * head + 1)]
    assert (said[:, at] @ found.T - said @ output.T).norm() < 0.02 * (said @ output.T).norm()


def test_what_heads_say_is_the_same_in_one_piece_and_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.load(Path(prune.__file__).parents[1] / "mini", dtype=torch.float32)
    ids = engine.tokenizer.encode("The mill stood by the river, and nobody knew who had built it. " * 12)
    whole = prune.look(engine, [ids])
    monkeypatch.setattr(Engine, "chunk", 64)
    for one, other in zip(whole, prune.look(engine, [ids]), strict=True):
        assert one.trace() > 0
        assert torch.allclose(one, other, atol=1e-3 * float(one.trace()) / len(one))
    layer = next(layer for layer in engine.model.modules() if isinstance(layer, MLA))
    kept, output = prune.choose(whole[0], layer.output.data, layer.heads, layer.heads)
    assert kept == tuple(range(layer.heads))
    unexplained = ((output - layer.output) @ whole[0] * (output - layer.output)).sum()
    assert unexplained < 1e-3 * (layer.output @ whole[0] * layer.output).sum()


def test_a_run_starts_with_the_heads_that_its_folder_has(tmp_path: Path) -> None:
    save_start(with_heads(), tmp_path)
    mine = load_student(tmp_path)
    assert mine.config["num_attention_heads"] == HEADS
    assert torch.equal(mine.layers[3].attention.q_proj, with_heads().layers[3].attention.q_proj)
