"""The mentor is the library's MPNet, reads a reader's lessons, and what it thinks of them can be learned."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from model.training import mentor, tuning
from model.training import reader as reading
from model.training.packing import Pack, make_pack
from tests.model.training.test_reader import WORDS, small
from tests.model.training.test_tuning import CPU


def test_it_is_the_library_s_mpnet(tmp_path: Path) -> None:
    from transformers import MPNetConfig, MPNetModel

    torch.manual_seed(1)
    oracle = MPNetModel(MPNetConfig(vocab_size=30_527, max_position_embeddings=514), add_pooling_layer=False).eval()
    for p in oracle.parameters():
        p.data.normal_(0, 0.03)
    save_file({name: t.contiguous() for name, t in oracle.state_dict().items()}, tmp_path / "model.safetensors")
    mine = mentor.load(tmp_path / "model.safetensors").eval()
    ids = torch.tensor([101, *range(2000, 2150), 100, 102])
    theirs = oracle(torch.tensor([[0, *range(2004, 2154), 104, 2]])).last_hidden_state[0]
    kinds = (torch.arange(len(ids)) > 5).long()
    scores = mine(torch.cat((ids[-9:], ids)), torch.cat((kinds[-9:], kinds)), make_pack([9, len(ids)]))
    torch.testing.assert_close(scores[9 + 6 : -1], mine.score(theirs)[6:-1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(scores[9], mine.score(theirs)[0], rtol=1e-3, atol=1e-3)


def test_what_a_mentor_says_is_learned_of_each_sequence_by_itself() -> None:
    torch.manual_seed(2)
    mine, theirs, pack = torch.randn(12, 2), torch.randn(12, 2), make_pack([5, 4, 3])
    expected = [F.cross_entropy(mine[a:b, side][None], theirs[a:b, side].softmax(0)[None])
                for side in (0, 1) for a, b in [(0, 5), (5, 9)]]  # the third is what fills the row up
    first = torch.tensor([2, 5, -1])
    torch.testing.assert_close(reading.soft_loss(mine, [theirs], pack, first), torch.stack(expected).mean())
    other = torch.randn(12, 2)
    both = [reading.soft_loss(mine, [one], pack, first) for one in (theirs, other)]
    torch.testing.assert_close(reading.soft_loss(mine, [theirs, other], pack, first), torch.stack(both).mean())


def test_a_reader_learns_what_its_mentor_says_more_than_what_is_right(tmp_path: Path) -> None:
    lengths, nowhere = np.full(8, 9, dtype=np.int32), np.zeros(8, dtype=np.int32)
    ids = np.random.default_rng(3).integers(3, len(WORDS), 72).astype(np.uint16)
    kinds = np.tile(np.array([0] * 3 + [1] * 6, dtype=np.int8), 8)
    np.savez(tmp_path / "lessons.npz", ids=ids, kinds=kinds, lengths=lengths, first=nowhere, last=nowhere)

    class Fifth(reading.Reader):
        """A mentor to whom it is always the fifth token."""

        def forward(self, ids: torch.Tensor, kinds: torch.Tensor, pack: Pack) -> torch.Tensor:
            return torch.where(pack.position[:, None] == 5, 0.0, reading.NEVER).expand(-1, 2)

    fifth = Fifth(layers=3, vocab=1)  # of as many layers as nobody else here: what they say is all that counts
    learned = tuning.reader(small(), [tmp_path / "lessons.npz"], 1e9, 72, 250, 3e-3, [fifth])
    row, places, pack, _, _ = tuning.Examples([tmp_path / "lessons.npz"], 72, CPU).step(0)
    logs = reading.log_softmax(learned(row, places, pack), pack)
    fifths, none = logs[pack.position == 5], logs[pack.position == 0]
    assert (fifths > none).all()
    assert float(none.detach().exp().mean()) > 0.1  # and yet that it is nowhere


def test_a_mentor_s_twin_is_a_mentor() -> None:
    own = mentor.Mentor(layers=1, vocab=40, hidden=48, inner=64)
    for p in own.parameters():
        p.data.normal_(0, 0.3)
    twin = own.twin()
    ids, kinds, pack = torch.tensor([101, 7, 102, 9, 8, 102]) % 36, torch.tensor([0, 0, 0, 1, 1, 1]), make_pack([6])
    torch.testing.assert_close(twin.eval()(ids, kinds, pack), own.eval()(ids, kinds, pack))


def test_a_mentor_learns_but_for_its_bias(tmp_path: Path) -> None:
    lengths = np.full(4, 6, dtype=np.int32)
    np.savez(tmp_path / "lessons.npz", ids=np.tile(np.array([101, 7, 102, 9, 8, 102], np.uint16), 4), lengths=lengths,
             kinds=np.tile(np.array([0, 0, 0, 1, 1, 1], np.int8), 4), first=lengths - 2, last=lengths - 2)
    start = mentor.Mentor(layers=1, vocab=120, hidden=48, inner=64)
    for p in start.parameters():
        p.data.normal_(0, 0.3)
    bias, embed = start.bias.clone(), start.embed.clone()
    learned = tuning.reader(start, [tmp_path / "lessons.npz"], 1e9, 24, passes=3, lr=1e-3)
    assert isinstance(learned, mentor.Mentor)
    assert torch.equal(learned.bias, bias)
    assert not torch.equal(learned.embed, embed)
