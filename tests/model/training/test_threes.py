"""A mentor whose matrices learn to have three values is much like the mentor, and is shipped as it learned."""

from pathlib import Path

import numpy as np
import torch

from model import ternary
from model.reader import Reader as Shipped
from model.training import reader as reading
from model.training import shipping, threes, tuning
from model.training.mentor import Mentor, trained
from model.training.packing import make_pack
from tests import readers
from tests.model.training.test_tuning import CPU

HIDDEN = 48


def mentor(hidden: int = HIDDEN) -> Mentor:
    """Small layers that give one token much more than the others."""
    torch.manual_seed(5)
    own = Mentor(layers=2, vocab=30_527, hidden=hidden, inner=64)
    for name, p in own.named_parameters():
        p.data.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.2)
    return own.eval()


def lessons(folder: Path) -> Path:
    """Eight short ones."""
    lengths, first = np.full(8, 9, dtype=np.int32), np.array([4, 0] * 4, dtype=np.int32)
    ids = np.random.default_rng(3).integers(1000, 1040, 72).astype(np.uint16)
    np.savez(folder / "lessons.npz", ids=ids, kinds=np.tile(np.array([0] * 3 + [1] * 6, dtype=np.int8), 8),
             lengths=lengths, first=first, last=first)
    return folder / "lessons.npz"


def rounded(reader: threes.Threes) -> threes.Threes:
    """The reader with its matrices as they are stored."""
    twin = reader.twin()
    assert isinstance(twin, threes.Threes)
    for name, one in twin.state_dict().items():
        if shipping.stored_bits(twin).get(name) == ternary.BITS:
            one.copy_(ternary.round_trip(one))
    return twin.eval()


def test_it_begins_as_the_mentor() -> None:
    own = mentor()
    begun = threes.begin(own, torch.ones(reading.PIECES), HIDDEN).eval()
    ids, pack = torch.arange(1000, 1012), make_pack([12])
    kinds = (torch.arange(12) > 3).long()
    torch.testing.assert_close(begun(ids, kinds, pack)[4:-1], own(ids, kinds, pack)[4:-1], rtol=0.1, atol=0.1)


def test_the_gradient_passes_through_rounded_activations() -> None:
    x = torch.randn(5, 7, requires_grad=True)
    out = threes.rounded(x)
    whole, scale = ternary.in_bytes(x)
    torch.testing.assert_close(out, whole * scale)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(grad, torch.ones_like(x))


def test_it_learns_with_three_values_what_its_mentor_says(tmp_path: Path) -> None:
    own, file = mentor(), lessons(tmp_path)
    begun = threes.begin(own, torch.ones(reading.PIECES), HIDDEN)
    ids, kinds, pack, first, _ = tuning.Examples([file], 80, CPU).step(0)

    @torch.no_grad()
    def unlike(reader: reading.Reader) -> float:
        return float(reading.unlike(reader.states(ids, kinds, pack), own.states(ids, kinds, pack), pack, first))

    before = unlike(rounded(begun))
    learned = tuning.reader(begun, [file], 1e9, 80, 150, 3e-3, [own], shipping.stored_bits(begun))
    assert isinstance(learned, threes.Threes)
    for name, one in learned.named_parameters():
        if name.startswith("layers.") and one.dim() == 2:
            assert all(len(row.unique()) <= 3 for row in one.detach())
    torch.testing.assert_close(learned(ids, kinds, pack), rounded(learned)(ids, kinds, pack), rtol=0.05, atol=0.05)
    assert unlike(learned) < 0.5 * before


def test_only_its_layers_matrices_have_three_values() -> None:
    stored = shipping.stored_bits(threes.begin(mentor(96), torch.ones(reading.PIECES), 64))
    assert [stored.pop("embed"), stored.pop("widen.weight")] == [shipping.BITS] * 2
    assert stored == {f"layers.{n}.{name}.weight": ternary.BITS
                      for n in range(2) for name in ("qkv", "out", "up", "down")}


def test_word_pieces_keep_what_most_of_those_read_are_made_of() -> None:
    own = mentor()
    read = torch.full((reading.PIECES,), 1000)
    read[5] = 0
    plane = torch.randn(24, HIDDEN)
    with torch.no_grad():
        own.embed.copy_(torch.randn(len(own.embed), 24) @ plane)
        own.embed[9] = torch.randn(HIDDEN)  # out of the plane, and never read: MPNet's number for BERT's 5
    begun = threes.begin(own, read, 24)
    lost = (begun.words(torch.arange(1000)) - own.words(torch.arange(1000))).detach().norm(dim=1)
    assert int(lost.argmax()) == 5
    assert float(lost.sort().values[-2]) < 0.01 * float(lost[5])


def test_it_is_shipped_as_it_learned(tmp_path: Path) -> None:
    torch.manual_seed(6)
    begun = threes.Threes(layers=2, vocab=len(readers.PIECES) + 5, hidden=192, inner=128, width=64)
    for name, p in begun.named_parameters():
        p.data.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.2)
    torch.save(begun.state_dict(), tmp_path / "reader.pt")
    again = trained(threes.Threes, tmp_path / "reader.pt")
    assert again.sizes == begun.sizes
    shipped = Shipped.load(readers.write(tmp_path, again), torch.float32, CPU)
    assert shipped.shape.ternary
    ids = torch.tensor([shipped.cls, 9, 8, shipped.sep, *range(10, 40), shipped.sep])
    expected = readers.rounded(again)(ids, (torch.arange(len(ids)) > 3).long(), make_pack([len(ids)]))
    torch.testing.assert_close(shipped(ids, 4)[4:-1], expected[4:-1], rtol=0.02, atol=0.02)
    words = readers.tokenizer(tmp_path)
    taken = begun.twin()
    for p in taken.parameters():
        p.data.fill_(7.0)
    shipping.take_up(taken, tmp_path / "reader", words)
    other, wanted = taken.state_dict(), readers.rounded(again).state_dict()
    spelt = begun.numbers(torch.arange(len(readers.PIECES)))
    torch.testing.assert_close(other.pop("embed")[spelt], wanted.pop("embed")[spelt])
    for name, one in other.items():
        torch.testing.assert_close(one, wanted[name], rtol=1e-2, atol=1e-6)


def test_pieces_that_were_not_shipped_stay_worth_what_they_are(tmp_path: Path) -> None:
    torch.manual_seed(7)
    begun = threes.Threes(layers=1, vocab=len(readers.PIECES) + 5, hidden=192, inner=128, width=64)
    for p in begun.parameters():
        p.data.normal_(0.0, 0.2)
    words = readers.tokenizer(tmp_path)
    kept = [n for n, piece in enumerate(readers.PIECES) if piece not in ("mill", "river")]
    shipping.ship(begun, words, kept, tmp_path / "reader")
    turned, other = torch.linalg.qr(torch.randn(64, 64)).Q, begun.twin()
    assert other.widen is not None
    assert begun.widen is not None
    with torch.no_grad():  # the same words by another map
        other.embed.copy_(begun.embed @ turned)
        other.widen.weight.copy_(begun.widen.weight @ turned)
    shipping.take_up(other, tmp_path / "reader", words)
    found, wanted = (each.words(torch.arange(len(readers.PIECES))).detach() for each in (other, begun))
    far = (found - wanted).norm(dim=1) / wanted.norm(dim=1)
    assert float(far.max()) < 0.2  # what is lost by 4 bits
