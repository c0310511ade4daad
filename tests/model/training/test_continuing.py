"""Writing on with kept keys and values is what reading everything again gives."""

import torch

from model.training.continuing import Continuer
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
    prompts = [torch.randint(3, 64, (n,), generator=source).tolist() for n in (5, 1, 9, 3, 61)]
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
    assert Continuer(model, 5, 100)(prompts, 6) == expected
    few = Continuer(model, 2, 67)  # its rows are used again, and the last batch is not full
    assert few(prompts, 6) == expected
    assert few(prompts[::-1], 6) == expected[::-1]
    assert any(expected)


def test_drawing_is_the_same_for_a_seed_and_differs_between_seeds() -> None:
    write, prompts = Continuer(teacher(), 8, 16), [[5, 6, 7]] * 8
    first, again, other = (write(prompts, 8, 30.0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({tuple(ids) for ids in first}) > 1


def test_what_is_far_from_the_likeliest_is_never_drawn() -> None:
    model = teacher()
    logits = model(torch.tensor([5, 6, 7]), make_pack([3]))[-1] @ model.embed.T
    share = (logits - logits.max()).exp()
    write = Continuer(model, 8, 16)
    drawn = {ids[0] for seed in range(40) for ids in write([[5, 6, 7]] * 8, 1, 1.0, torch.Generator().manual_seed(seed))
             if ids}
    assert drawn <= set((share >= 0.05).nonzero()[:, 0].tolist())
    assert len(drawn) > 1 or int((share >= 0.05).sum()) == 1


def test_a_row_ends_at_its_end_of_turn() -> None:
    model = teacher()
    with torch.no_grad():
        model.embed[IM_END] = model.norm * 40 * torch.sign(model(torch.tensor([5, 6]), make_pack([2]))[-1])
    assert Continuer(model, 1, 16)([[5, 6]], 8) == [[]]


def test_what_has_not_ended_when_enough_have_breaks_off() -> None:
    model = teacher()
    with torch.no_grad():  # ends behind some prompts at once, and behind others never
        model.embed[IM_END] = model.norm * torch.sign(model(torch.tensor([5, 6]), make_pack([2]))[-1])
    prompts = [[a, b] for a in range(5, 9) for b in range(5, 9)]
    whole = Continuer(model, 16, 32)(prompts, 20)
    ended = sum(len(ids) < 4 for ids in whole)
    assert 0 < ended < 16
    broken = Continuer(model, 16, 32)(prompts, 20, enough=ended / 16)
    assert broken == [ids[:4] for ids in whole]
