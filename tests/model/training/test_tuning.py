"""The writer and the reader learn, what they start from stays as it was, and rows hold every lesson once."""

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from model.quantize import round_trip
from model.training import lessons, shipping, tuning
from model.training import reader as reading
from model.training.data import plain_tokenizer
from model.training.optimizer import Optimizer
from model.training.pools import Pools
from model.training.teacher import Teacher
from tests.model.training.test_reader import small, tokenizer_file
from tests.model.training.test_tasks import corpus

CPU = torch.device("cpu")
TOKENIZER = plain_tokenizer(Path(__file__).parents[3] / "model" / "mini" / "tokenizer.json")


def test_the_writer_learns_and_the_teacher_does_not_change(tmp_path: Path) -> None:
    lessons.asking(Pools(corpus(tmp_path), random.Random(2)), TOKENIZER, 600, tmp_path / "lessons.npz")
    master = Teacher(layers=1)
    for name, p in master.named_parameters():
        p.data.fill_(1.0) if "norm" in name else p.data.normal_(0, 0.05)
    before = master.embed.clone()
    writer = tuning.writer(master, [tmp_path / "lessons.npz"], 1e-9, 512, passes=1)
    assert (master.embed == before).all()
    assert (writer.embed != before).any()


def test_the_reader_learns_where_answers_are(tmp_path: Path) -> None:
    words = reading.read_tokenizer(tokenizer_file(tmp_path))
    asked = [("who?", "the mill was built in 1821 by anne."), ("when?", "the mill was built in 1821 by anne.")] * 8
    pairs = reading.encode(asked, words)
    place = {"who?": 4 + 7, "when?": 4 + 5}
    spans = np.array([place[question] for question, _ in asked], dtype=np.int32)
    np.savez(tmp_path / "lessons.npz", ids=pairs.ids.astype(np.uint16), kinds=pairs.kinds, lengths=pairs.lengths,
             first=spans, last=spans)
    start = reading.Reader(layers=2, vocab=30, hidden=48, inner=64)
    for p in (start.embed, start.places, start.kinds):
        p.data.normal_(0, 0.5)
    optimizer, rows = Optimizer(start.train(), muon=False), tuning.Examples([tmp_path / "lessons.npz"], 160, CPU)
    for _ in range(60):
        ids, kinds, pack, first, last = rows.step(0)
        reading.loss(start(ids, kinds, pack), pack, first, last).backward()
        optimizer.step(3e-3)
    found = reading.read(start.eval(), pairs)
    assert [c[each.start : each.end] for (_, c), each in zip(asked, found, strict=True)] == ["anne", "1821"] * 8
    assert min(each.sure for each in found) > 0
    held_out = [{"question": q, "context": c, "answers": ["anne"], "unanswerable": False} for q, c in asked[:2]]
    assert tuning.read_scores(start, held_out, words)["f1"] == 50
    held_out.append({"question": "by?", "context": "the mill.", "answers": [], "unanswerable": True})
    scores = tuning.read_scores(start, held_out, words)
    assert scores["rows"] == 3
    assert 0 <= scores["auc"] <= 1


def test_tuning_gives_a_reader_that_is_not_compiled(tmp_path: Path) -> None:
    words = reading.read_tokenizer(tokenizer_file(tmp_path))
    lessons.reading(Pools(corpus(tmp_path), random.Random(2)), words, 40, tmp_path / "lessons.npz")
    start = small()
    before = start.embed.clone()
    trained = tuning.reader(start, [tmp_path / "lessons.npz"], 1e-9, 400, passes=1, lr=1e-3)
    assert not trained.training
    assert (trained.embed != before).any()


def test_a_reader_ends_on_the_grid_that_it_is_stored_in(tmp_path: Path) -> None:
    words = reading.read_tokenizer(tokenizer_file(tmp_path))
    lessons.reading(Pools(corpus(tmp_path), random.Random(2)), words, 40, tmp_path / "lessons.npz")
    start = reading.Reader(2, 64, 192, 64)
    for p in start.parameters():
        p.data.normal_(0, 0.1)
    stored = shipping.stored_bits(start)
    own = tuning.reader(start, [tmp_path / "lessons.npz"], 1e9, 400, 2, 1e-3, bits=stored).state_dict()
    assert {"embed", "places", "layers.0.qkv.weight", "layers.1.down.weight"} <= stored.keys() <= own.keys()
    assert not {name for name in stored if "norm" in name or "bias" in name or name.startswith(("score", "kinds"))}
    for name, one in own.items():
        if bits := stored.get(name):
            assert len(one.unflatten(-1, (-1, 64))[0, 0].unique()) <= 2**bits
            torch.testing.assert_close(round_trip(one, bits, 64), one, atol=1e-2, rtol=1e-2)


def test_rows_hold_every_lesson_once_and_say_what_fills_them(tmp_path: Path) -> None:
    lengths = np.array([5, 9, 7, 3, 8, 16], dtype=np.int32)
    total = int(lengths.sum())
    np.savez(tmp_path / "lessons.npz", ids=np.arange(1, total + 1, dtype=np.uint16), kinds=np.ones(total, np.int8),
             lengths=lengths, first=lengths - 2, last=lengths - 1)
    made = tuning.Examples([tmp_path / "lessons.npz"], 16, CPU)
    seen, ends = [], []
    for n in range(len(made.rows)):
        ids, kinds, pack, first, last = made.step(n)
        assert len(ids) == len(kinds) == int(pack.borders[-1]) == 16
        assert len(first) == len(pack.borders) - 1
        seen += [i for i in ids.tolist() if i]
        ends += [int(ids[b]) for a, b in zip(first.tolist(), last.tolist(), strict=True) if a >= 0]
        lost = sum(int((ids[a:b] != 0).sum()) for (a, b), f in
                   zip(pairwise(pack.borders.tolist()), first.tolist(), strict=True) if f < 0)
        assert lost == 0
    assert sorted(seen) == list(range(1, total + 1))
    assert sorted(ends) == np.cumsum(lengths).tolist()
