"""Writing on with kept keys and values is what reading everything again gives."""

import torch

from model.training.continuing import continuations
from model.training.packing import make_pack
from model.training.teacher import IM_END, Teacher


def teacher() -> Teacher:
    """A shallow teacher with random weights and few words."""
    torch.manual_seed(3)
    model = Teacher(layers=2, vocab=64)
    for name, p in model.named_parameters():
        p.data.uniform_(0.5, 1.5) if "norm" in name else p.data.normal_(0, 0.5 if name == "embed" else 0.06)
    return model


def test_it_is_what_reading_everything_again_gives() -> None:
    model, source = teacher(), torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, 64, (n,), generator=source).tolist() for n in (5, 1, 9, 3)]
    expected = []
    for prompt in prompts:
        ids = list(prompt)
        for _ in range(6):
            hidden = model(torch.tensor(ids), make_pack([len(ids)]))
            ids.append(int((hidden[-1] @ model.embed.T).argmax()))
            if ids[-1] == IM_END:
                ids.pop()
                break
        expected.append(ids[len(prompt) :])
    assert continuations(model, prompts, 6, 4) == expected
    assert continuations(model, prompts, 6, 2) == expected
    assert any(expected)


def test_drawing_is_the_same_for_a_seed_and_differs_between_seeds() -> None:
    model, prompts = teacher(), [[5, 6, 7]] * 8
    first = continuations(model, prompts, 8, 8, temperature=30.0, seed=1)
    assert first == continuations(model, prompts, 8, 8, temperature=30.0, seed=1)
    assert first != continuations(model, prompts, 8, 8, temperature=30.0, seed=2)
    assert len({tuple(ids) for ids in first}) > 1


def test_a_row_ends_at_its_end_of_turn() -> None:
    model = teacher()
    with torch.no_grad():
        model.embed[IM_END] = model.norm * 40 * torch.sign(model(torch.tensor([5, 6]), make_pack([2]))[-1])
    assert continuations(model, [[5, 6]], 8, 1) == [[]]
