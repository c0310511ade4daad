"""A reader is shipped with the word pieces it needs, on the grid, and reads as it did."""

import json
from pathlib import Path

import numpy as np
import torch

from model.reader import Reader
from model.training import shipping
from model.training.packing import make_pack
from tests import readers


def test_pieces_are_kept_that_lessons_have_and_that_spell_the_others(tmp_path: Path) -> None:
    words = json.loads(readers.tokenizer(tmp_path).read_text("utf-8"))
    the = readers.PIECES.index("the")
    np.savez(tmp_path / "lessons.npz", ids=np.array([2, the, 3], dtype=np.uint16))
    kept = shipping.used([tmp_path / "lessons.npz"], words)
    pieces = [readers.PIECES[n] for n in kept]
    assert kept == sorted(kept)
    assert {"[CLS]", "[SEP]", "[UNK]", "[PAD]", "the", "m", "##i"} < {*pieces}
    assert not {"mill", "built", "[MASK]"} & {*pieces}


def test_what_is_shipped_reads_as_it_did(tmp_path: Path) -> None:
    file = readers.tokenizer(tmp_path)
    model = readers.small()
    kept = [n for n, piece in enumerate(readers.PIECES) if piece not in ("mill", "river")]
    shipping.ship(model, file, kept, tmp_path / "reader")
    shipped = Reader.load(tmp_path / "reader", torch.float32, torch.device("cpu"))
    question, passage = "who built the house?", "the house was built by anne."
    asked, read = (shipped.tokenizer.encode(text) for text in (question, passage))
    ids = torch.tensor([kept[n] for n in [shipped.cls, *asked.ids, shipped.sep, *read.ids, shipped.sep]])
    kinds = (torch.arange(len(ids)) > len(asked.ids) + 1).long()
    with torch.no_grad():
        expected = readers.rounded(model)(ids, kinds, make_pack([len(ids)]))
    found = shipped.read(question, passage).values
    torch.testing.assert_close(found[:-1], expected[len(asked.ids) + 2 : -1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[-1], expected[0], rtol=1e-4, atol=1e-4)
    assert shipped.tokenizer.encode("the mill").tokens == ["the", "m", "##i", "##l", "##l"]


def test_the_grid_holds_matrices_alone(tmp_path: Path) -> None:
    on_grid = {name for name, one in shipping.tensors(readers.small()).items() if shipping.is_on_grid(one)}
    assert all(name.endswith(".weight") and "LayerNorm" not in name for name in on_grid)
    assert "bert.embeddings.token_type_embeddings.weight" not in on_grid
    assert "qa_outputs.weight" not in on_grid
    assert len(on_grid) == 2 + 6 * 2
