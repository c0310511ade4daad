"""A borrowed pointer begins as the encoder's upper layers, over a map that is fitted word by word."""

from pathlib import Path

import pytest
import torch

from model.engine import Engine
from model.pointer import PLACES
from model.training import borrow, reader
from model.training.data import plain_tokenizer
from model.training.pointer import POINTER
from model.training.tasks import Sample, Turn, read_form
from tests.model.training.test_reader import tokenizer_file

ROOT = Path(__file__).parents[3] / "model"
FORM = read_form(ROOT / "training" / "prompts.json")


@pytest.fixture(scope="module")
def encoder() -> reader.Reader:
    """An encoder of the borrowed size with random weights."""
    torch.manual_seed(0)
    made = reader.Reader(layers=6, vocab=64)
    for p in made.parameters():
        p.data.normal_(0, 0.05)
    return made.eval()


def test_a_linear_map_is_found_and_the_layers_are_the_encoder_s(encoder: reader.Reader) -> None:
    torch.manual_seed(1)
    hidden, inner = POINTER["hidden_size"], 1536
    inside, place = torch.randn(3000, 40), torch.arange(3000) % PLACES
    linear, of_places = torch.randn(40, hidden), torch.randn(hidden, hidden) * 0.1
    places = encoder.places.detach()
    size = torch.rand(POINTER["num_layers"], inner)
    found = borrow.fitted(encoder, borrow.Seen(inside, place, inside @ linear + places[place] @ of_places + 2, size))
    given = inside @ found["enter.weight"].T + found["places"][place]
    assert torch.allclose(given, inside @ linear + places[place] @ of_places + 2, atol=0.1)
    for n in range(POINTER["num_layers"]):
        theirs = encoder.layers[2 + n].state_dict()
        kept = size[n].topk(POINTER["intermediate_size"]).indices.sort().values
        assert torch.equal(found[f"layers.{n}.qkv.weight"], theirs["qkv.weight"])
        assert torch.equal(found[f"layers.{n}.up.bias"], theirs["up.bias"][kept])
        assert torch.equal(found[f"layers.{n}.down.weight"], theirs["down.weight"][:, kept])


def test_each_word_is_seen_by_both(encoder: reader.Reader, tmp_path: Path) -> None:
    engine = Engine.load(ROOT / "mini", dtype=torch.float32)
    words = borrow.Tokenizers(plain_tokenizer(ROOT / "mini" / "tokenizer.json"),
                              reader.read_tokenizer(tokenizer_file(tmp_path)))
    turns = [Turn("Who built the mill?", FORM.not_found, "a", "The mill was built by Anne in 1821."),
             Turn("When was the mill built?", FORM.not_found, "b", "The mill was built by Anne.")]
    seen = borrow.look(engine, encoder, Sample("A text.", turns), FORM, words)
    assert len(seen) == 2
    for turn, each in zip(turns, seen, strict=True):
        asked = FORM.shown.format(question=turn.question, evidence=turn.shown)
        assert each.inside.shape == (len(each.place), 3 * engine.config.hidden)
        assert each.wanted.shape == (len(each.place), POINTER["hidden_size"])
        assert 15 < len(each.place) < len(words.mini.encode(asked).ids)  # the words, and what stands for no answer
        assert each.place.tolist()[:-1] == sorted(set(each.place.tolist()[:-1]))
    repeated = seen[0].wanted  # the question stands before and behind the evidence: the same words twice
    assert any(torch.equal(repeated[0], other) for other in repeated[1:])
