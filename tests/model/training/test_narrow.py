"""Narrow word pieces keep what counts; their reader learns from each of its mentor's layers, and is shipped."""

from pathlib import Path

import numpy as np
import torch

from model.reader import Reader as Shipped
from model.training import narrow, tuning
from model.training import reader as reading
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
    made = narrow.narrow(whole, read, 64).eval()
    assert made.twin().sizes == (2, len(words), HIDDEN, 128, 64)
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
            maps = narrow.lift(states, above)
            return float(narrow.unlike([x @ m for x, m in zip(states, maps, strict=True)], above, pack, first))

    before = unlike(made)
    learned = tuning.reader(made, [tmp_path / "lessons.npz"], 1e9, 80, 200, 3e-3, [own])
    assert unlike(learned) < 0.85 * before
    assert "maps" not in learned.state_dict() | made.state_dict()


def test_one_with_narrow_word_pieces_is_shipped(tmp_path: Path) -> None:
    made = narrow.narrow(readers.small(), torch.ones(len(readers.PIECES)), 64).eval()
    torch.save(made.state_dict(), tmp_path / "reader.pt")
    again = narrow.trained(tmp_path / "reader.pt")
    assert again.sizes == made.sizes
    shipped = Shipped.load(readers.write(tmp_path, again), torch.float32, CPU)
    assert shipped.widen is not None
    ids = torch.tensor([shipped.cls, 9, 8, shipped.sep, *range(10, 40), shipped.sep])
    expected = readers.rounded(made)(ids, (torch.arange(len(ids)) > 3).long(), make_pack([len(ids)]))
    torch.testing.assert_close(shipped(ids, 4)[4:-1], expected[4:-1], rtol=1e-3, atol=1e-3)
