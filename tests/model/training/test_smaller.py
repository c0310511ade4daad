"""A pruned mentor: whole it is the mentor, what says nothing goes first, it learns from all layers; it is shipped. So is
another encoder with word pieces of fewer dimensions."""

import json
from pathlib import Path

import numpy as np
import torch

from model.reader import Reader as Shipped
from model.training import reader as reading
from model.training import shipping, smaller, tuning
from model.training.mentor import Mentor
from model.training.packing import make_pack
from tests import readers
from tests.model.training.test_tuning import CPU

HIDDEN, INNER = 192, 128


def mentor() -> Mentor:
    """A small one with random weights."""
    torch.manual_seed(4)
    own = Mentor(layers=2, vocab=30_527, hidden=HIDDEN, inner=INNER)
    for name, p in own.named_parameters():
        p.data.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.2)
    return own.eval()


def lessons(folder: Path) -> tuning.Examples:
    """A few, with and without an answer."""
    lengths = np.full(8, 9, dtype=np.int32)
    ids = np.random.default_rng(3).integers(1000, 1040, 72).astype(np.uint16)
    kinds = np.tile(np.array([0] * 3 + [1] * 6, dtype=np.int8), 8)
    first = np.array([4, 0] * 4, dtype=np.int32)
    np.savez(folder / "lessons.npz", ids=ids, kinds=kinds, lengths=lengths, first=first, last=first)
    return tuning.Examples([folder / "lessons.npz"], 80, CPU)


def test_with_all_that_it_has_it_is_the_mentor(tmp_path: Path) -> None:
    own, some = mentor(), lessons(tmp_path)
    said = smaller.listen(own, [some.step(0)])
    assert said.heads.shape == (2, reading.HEADS)
    assert said.neurons.shape == (2, INNER)
    assert said.pieces.sum() == 72  # not what fills the row up
    whole = smaller.smaller(own, said, INNER, reading.HEADS, HIDDEN).eval()
    ids, kinds, pack, first, _ = some.step(0)
    torch.testing.assert_close(whole(ids, kinds, pack), own(ids, kinds, pack), rtol=1e-3, atol=1e-3)
    states = [model.states(ids, kinds, pack) for model in (whole, own)]
    assert float(smaller.unlike(*states, pack, first).detach()) < 1e-6


def test_heads_and_neurons_that_say_nothing_go_first(tmp_path: Path) -> None:
    own, some = mentor(), lessons(tmp_path)
    size = HIDDEN // reading.HEADS
    with torch.no_grad():
        for n, layer in enumerate(own.layers):
            layer.out.weight.unflatten(1, (reading.HEADS, size))[:, n::2] = 0.0
            layer.down.weight[:, n::2] = 0.0
    said = smaller.listen(own, [some.step(0)])
    half = smaller.smaller(own, said, INNER // 2, reading.HEADS // 2, HIDDEN).eval()
    ids, kinds, pack, *_ = some.step(0)
    torch.testing.assert_close(half(ids, kinds, pack), own(ids, kinds, pack), rtol=1e-3, atol=1e-3)
    assert half.twin().sizes == half.sizes == (2, smaller.PIECES, HIDDEN, INNER // 2, 6, HIDDEN)


def test_what_a_head_says_counts_by_how_much_the_loss_would_change(tmp_path: Path) -> None:
    own, some = mentor(), lessons(tmp_path)
    ids, kinds, _, first, last = some.step(0)
    one = ids[:9], kinds[:9], make_pack([9]), first[:1], last[:1]
    said, step = smaller.listen(own, [one]), 1e-3
    size = HIDDEN // reading.HEADS
    before = reading.loss(own(*one[:3]), *one[2:])
    with torch.no_grad():
        own.layers[0].out.weight[:, 3 * size : 4 * size] *= 1 - step
        own.layers[1].down.weight[:, 7] *= 1 - step
        after = reading.loss(own(*one[:3]), *one[2:])
        own.layers[1].down.weight[:, 7] /= 1 - step
        head = reading.loss(own(*one[:3]), *one[2:])
    torch.testing.assert_close((head - before).abs() / step, said.heads[0, 3], rtol=0.05, atol=1e-3)
    torch.testing.assert_close((after - head).abs() / step, said.neurons[1, 7], rtol=0.05, atol=1e-3)


def test_it_learns_from_all_layers_of_its_mentor(tmp_path: Path) -> None:
    own, some = mentor(), lessons(tmp_path)
    made = smaller.smaller(own, smaller.listen(own, [some.step(0)]), 64, 4, 64)
    ids, kinds, pack, first, _ = some.step(0)

    def unlike(model: reading.Reader) -> float:
        with torch.no_grad():
            states = [each.eval().states(ids, kinds, pack) for each in (model, own)]
            return float(smaller.unlike(*states, pack, first))

    before = unlike(made)
    learned = tuning.reader(made, [tmp_path / "lessons.npz"], 1e9, 80, 200, 3e-3, [own], shipping.stored_bits(made))
    assert isinstance(learned, smaller.Smaller)
    assert unlike(learned) < 0.6 * before


def test_word_pieces_keep_what_most_of_those_read_are_made_of() -> None:
    torch.manual_seed(7)
    plane = torch.randn(64, HIDDEN)
    words = torch.randn(len(readers.PIECES), 64) @ plane
    words[5] = torch.randn(HIDDEN)  # out of the plane, and never read
    whole = readers.small()
    with torch.no_grad():
        whole.embed.copy_(words)
    read = torch.full((len(words),), 1000)
    read[5] = 0
    made = smaller.narrow(whole, read, 64).eval()
    assert made.twin().sizes == (2, len(words), HIDDEN, 128, reading.HEADS, 64)
    ids = torch.tensor([2, 6, 7, 3, 9, 10, 11, 3])
    kinds, pack = (torch.arange(8) > 3).long(), make_pack([8])
    torch.testing.assert_close(made(ids, kinds, pack), whole(ids, kinds, pack), rtol=1e-2, atol=1e-2)
    lost = (made.words(torch.arange(len(words))) - words).norm(dim=1)
    assert int(lost.argmax()) == 5


def test_one_of_another_width_learns_from_all_layers_through_maps(tmp_path: Path) -> None:
    own, some = mentor(), lessons(tmp_path)
    torch.manual_seed(9)
    made = reading.Reader(2, 1100, 24, 64)
    for name, p in made.named_parameters():
        p.data.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.2)
    ids, kinds, pack, first, _ = some.step(0)

    def unlike(model: reading.Reader) -> float:
        with torch.no_grad():
            states, above = (each.eval().states(ids, kinds, pack) for each in (model, own))
            maps = smaller.lift(states, above)
            return float(smaller.unlike([x @ m for x, m in zip(states, maps, strict=True)], above, pack, first))

    before = unlike(made)
    learned = tuning.reader(made, [tmp_path / "lessons.npz"], 1e9, 80, 200, 3e-3, [own])
    assert unlike(learned) < 0.85 * before
    assert "maps" not in learned.state_dict() | made.state_dict()


def test_one_with_narrow_word_pieces_is_shipped(tmp_path: Path) -> None:
    made = smaller.narrow(readers.small(), torch.ones(len(readers.PIECES)), 64).eval()
    torch.save(made.state_dict(), tmp_path / "reader.pt")
    again = smaller.trained(tmp_path / "reader.pt")
    assert not isinstance(again, smaller.Smaller)
    assert again.sizes == made.sizes
    shipped = Shipped.load(readers.write(tmp_path, again), torch.float32, CPU)
    assert shipped.widen is not None
    ids = torch.tensor([shipped.cls, 9, 8, shipped.sep, *range(10, 40), shipped.sep])
    expected = readers.rounded(made)(ids, (torch.arange(len(ids)) > 3).long(), make_pack([len(ids)]))
    torch.testing.assert_close(shipped(ids, 4)[4:-1], expected[4:-1], rtol=1e-3, atol=1e-3)


def test_it_is_shipped(tmp_path: Path) -> None:
    torch.manual_seed(6)
    made = smaller.Smaller(2, len(readers.PIECES), HIDDEN, 64, 4, 64).eval()
    for name, p in made.named_parameters():
        p.data.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.2)
    torch.save(made.state_dict(), tmp_path / "reader.pt")
    again = smaller.trained(tmp_path / "reader.pt")
    assert isinstance(again, smaller.Smaller)
    assert again.sizes == made.sizes
    shipped = Shipped.load(readers.write(tmp_path, again), torch.float32, CPU)
    config = json.loads((tmp_path / "reader" / "config.json").read_text("utf-8"))
    assert (config["num_attention_heads"], config["attention_head_size"], config["embedding_size"]) == (4, 16, 64)
    ids = torch.tensor([shipped.cls, 9, 8, shipped.sep, *range(10, 40), *range(10, 40), shipped.sep])
    kinds = (torch.arange(len(ids)) > 3).long()
    expected = readers.rounded(made)(ids, kinds, make_pack([len(ids)]))
    torch.testing.assert_close(shipped(ids, 4)[4:-1], expected[4:-1], rtol=1e-3, atol=1e-3)
    plain = readers.write(tmp_path / "plain", readers.small())
    assert Shipped.load(plain, torch.float32, CPU).widen is None
