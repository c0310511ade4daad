"""The reader is the library's BERT for questions, over passages of any length; a damaged one says so in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.errors import CheckpointError, ConfigError, ModelError, TokenizerError
from model.reader import FOLDER, NEVER, Reader
from model.ternary import TernaryLinear, in_bytes
from model.training import shipping
from tests import readers

CPU = torch.device("cpu")
MINI = Path(__file__).parents[2] / "model" / "mini"
PASSAGE = "The mill was built in 1821 by Anne Reed. It burned down in the winter."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader as a checkpoint has it."""
    return readers.write(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    """That one, in float32."""
    return Reader.load(folder, torch.float32, CPU)


def test_it_is_the_library_s_bert(reader: Reader) -> None:
    from transformers import BertConfig, BertForQuestionAnswering

    shape = reader.shape
    config = BertConfig(vocab_size=shape.vocab, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
                        num_attention_heads=shape.heads, intermediate_size=shape.inner, layer_norm_eps=shape.eps)
    oracle = BertForQuestionAnswering(config).eval()
    stored = shipping.tensors(readers.rounded(readers.small()))
    assert not oracle.load_state_dict(stored, strict=False).unexpected_keys
    ids = [reader.cls, 9, 8, 7, reader.sep, *range(20, 60), reader.sep]
    kinds = torch.tensor([[0] * 5 + [1] * 41])
    with torch.no_grad():
        found = oracle(torch.tensor([ids]), token_type_ids=kinds)
        scores = reader(torch.tensor(ids), 5)
    theirs = torch.stack((found.start_logits[0], found.end_logits[0]), -1)
    torch.testing.assert_close(scores, theirs, rtol=1e-3, atol=1e-3)


def _library_s_mpnet(stored: dict[str, torch.Tensor], reader: Reader) -> torch.nn.Module:
    """MPNet for questions, of tensors under BERT's names."""
    from transformers import MPNetConfig, MPNetForQuestionAnswering

    shape = reader.shape
    config = MPNetConfig(vocab_size=shape.vocab, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
                         num_attention_heads=shape.heads, intermediate_size=shape.inner, layer_norm_eps=shape.eps,
                         max_position_embeddings=shape.places + 2, relative_attention_num_buckets=32)
    theirs = {"bert.": "mpnet.", "attention.self.query": "attention.attn.q", "attention.self.key": "attention.attn.k",
              "attention.self.value": "attention.attn.v", "attention.output.dense": "attention.attn.o",
              "attention.output.LayerNorm": "attention.LayerNorm"}
    named = {}
    for name, one in stored.items():
        for mine, other in theirs.items():
            name = name.replace(mine, other)
        named[name] = one
    del named["mpnet.embeddings.token_type_embeddings.weight"]  # it has none
    places = "mpnet.embeddings.position_embeddings.weight"
    named[places] = torch.nn.functional.pad(named[places], (0, 0, 2, 0))  # its first two are of no place
    oracle = MPNetForQuestionAnswering(config).eval()
    oracle.load_state_dict(named)
    return oracle


@pytest.mark.parametrize("three_values", [False, True])
def test_with_a_bias_for_distances_it_is_the_library_s_mpnet(tmp_path: Path, three_values: bool) -> None:
    folder, stored = readers.write_mpnet(tmp_path, three_values)
    reader = Reader.load(folder, torch.float32, CPU)
    oracle = _library_s_mpnet(stored, reader)
    if three_values:
        for name, module in oracle.named_modules():
            if ".layer." in name and isinstance(module, torch.nn.Linear):
                module.register_forward_pre_hook(lambda _, given: (torch.mul(*in_bytes(given[0][0]))[None],))
    times = 1 if three_values else 7  # of many numbers, some lie so close between two bytes that noise rounds them
    ids = torch.tensor([reader.cls, 9, 8, 7, reader.sep, *[*range(20, 60)] * times, reader.sep])
    kinds = (torch.arange(len(ids)) >= 5).long()
    words = stored["bert.embeddings.word_embeddings.weight"][ids]
    words = words + stored["bert.embeddings.token_type_embeddings.weight"][kinds]
    with torch.no_grad():
        found = oracle(inputs_embeds=words[None], position_ids=2 + torch.arange(len(ids))[None])
        scores = reader(ids, 5)
    theirs = torch.stack((found.start_logits[0], found.end_logits[0]), -1)
    torch.testing.assert_close(scores, theirs, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def ternary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader whose layers' matrices have three values."""
    return readers.write_mpnet(tmp_path_factory.mktemp("ternary"), three_values=True)[0]


def test_three_values_stay_a_byte_each_and_say_nearly_the_same_in_half_precision(ternary: Path) -> None:
    one, half = (Reader.load(ternary, dtype, CPU) for dtype in (torch.float32, torch.bfloat16))
    for reader in (one, half):
        layers = [part for part in reader.modules() if isinstance(part, TernaryLinear)]
        assert len(layers) == 4 * reader.shape.layers
        assert {layer.signs.dtype for layer in layers} == {torch.int8}
    values, others = (r.read("Who built the mill?", PASSAGE * 3).values for r in (one, half))
    assert (others - values).abs().mean() < 0.2 * values.std()


@pytest.mark.parametrize("kind", ["folder", "ternary"])
def test_loading_it_brings_no_sympy(kind: str, request: pytest.FixtureRequest) -> None:
    """Which alone would take half a second of a new process."""
    folder = request.getfixturevalue(kind)
    code = ("import sys, torch; from pathlib import Path; from model.reader import Reader; "
            "Reader.load(Path(sys.argv[1]), torch.float32, torch.device('cpu')); print('sympy' in sys.modules)")
    run = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(run, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_what_it_says_of_a_passage(reader: Reader) -> None:
    found = reader.read("Who built the mill?", PASSAGE)
    assert len(found.values) == len(found.offsets) + 1
    words = [PASSAGE[a:b] for a, b in found.offsets]
    assert "".join(words) == PASSAGE.replace(" ", "")
    assert (found.values > NEVER).all()
    again = reader.read("Who built the mill?", PASSAGE)
    assert torch.equal(found.values, again.values)
    other = reader.read("Who built the river?", PASSAGE)
    assert not torch.equal(found.values, other.values)


def test_a_long_passage_is_read_in_windows(reader: Reader) -> None:
    question, long = "Who built the mill?", PASSAGE * 12
    found = reader.read(question, long)
    tokens = len(found.offsets)
    assert tokens > reader.shape.places
    asked = reader.tokenizer.encode(question).ids
    ids = reader.tokenizer.encode(long).ids
    room = reader.shape.places - len(asked) - 3
    starts = [*range(0, tokens - 128, room - 128)]
    assert len(starts) > 1
    expected, none = torch.full((tokens, 2), NEVER), []
    for start in starts:
        window = ids[start : start + room]
        scores = reader(torch.tensor([reader.cls, *asked, reader.sep, *window, reader.sep]), len(asked) + 2)
        inside = slice(start, start + len(window))
        expected[inside] = expected[inside].maximum(scores[len(asked) + 2 : -1])
        none.append(scores[0])
    torch.testing.assert_close(found.values[:-1], expected)
    assert float(found.values[-1].sum()) == pytest.approx(min(float(one.sum()) for one in none), abs=1e-5)


@pytest.mark.parametrize(("question", "passage"), [
    ("", PASSAGE), ("Who?", ""), ("Who built it? " * 200, PASSAGE), ("\x00", "\u2603"),
])  # fmt: skip
def test_any_words_can_be_read(reader: Reader, question: str, passage: str) -> None:
    found = reader.read(question, passage)
    assert found.values.isfinite().all()
    assert len(found.values) == len(found.offsets) + 1


def test_half_precision_says_nearly_the_same(folder: Path, reader: Reader) -> None:
    half = Reader.load(folder, torch.bfloat16, CPU)
    one, other = (r.read("Who built the mill?", PASSAGE).values for r in (reader, half))
    torch.testing.assert_close(other, one, rtol=0.1, atol=0.3)


def test_a_checkpoint_without_one_has_none(tmp_path: Path) -> None:
    assert Reader.beside(tmp_path, torch.float32, CPU) is None


def _lacking(folder: Path) -> None:
    stored = load_file(folder / "model.safetensors")
    del stored["qa_outputs.bias"]
    save_file(stored, folder / "model.safetensors")


def _misshapen(folder: Path) -> None:
    stored = load_file(folder / "model.safetensors")
    save_file(stored | {"qa_outputs.bias": torch.zeros(3)}, folder / "model.safetensors")


def _other_words(folder: Path) -> None:
    words = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    words["model"]["vocab"] |= {"more": len(readers.PIECES)}
    (folder / "tokenizer.json").write_text(json.dumps(words), "utf-8")


def _odd_heads(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 5}), "utf-8")


@pytest.mark.parametrize(("damage", "error", "words"), [
    (_lacking, CheckpointError, "qa_outputs.bias"),
    (_misshapen, CheckpointError, "qa_outputs.bias"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"{}"), CheckpointError, "cannot be read"),
    (lambda folder: (folder / "model.safetensors").unlink(), CheckpointError, "cannot be read"),
    (lambda folder: (folder / "config.json").unlink(), ConfigError, "config.json"),
    (lambda folder: (folder / "config.json").write_text("[]"), ConfigError, "config.json"),
    (_odd_heads, ConfigError, "sizes"),
    (lambda folder: (folder / "tokenizer.json").write_text("{}"), TokenizerError, "tokenizer.json"),
    (_other_words, TokenizerError, "do not belong together"),
])  # fmt: skip
def test_a_damaged_one_says_what_is_wrong(tmp_path: Path, damage: object, error: type[ModelError], words: str) -> None:
    folder = readers.write(tmp_path)
    damage(folder)  # type: ignore[operator]
    with pytest.raises(error, match=words) as raised:
        Reader.load(folder, torch.float32, CPU)
    assert str(raised.value).count("\n") == 0


QUERY = "bert.encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(("settings", "tensors", "error", "words"), [
    ({}, {f"{QUERY}.packed": None}, CheckpointError, QUERY),
    ({}, {f"{QUERY}.scale": None}, CheckpointError, QUERY),
    ({}, {f"{QUERY}.packed": torch.zeros(192, 38, dtype=torch.uint8)}, CheckpointError, f"{QUERY}.*192 columns"),
    ({}, {f"{QUERY}.packed": torch.zeros(192, 39)}, CheckpointError, f"{QUERY}.*192 columns"),
    ({}, {f"{QUERY}.packed": torch.zeros(9, 39, dtype=torch.uint8), f"{QUERY}.scale": torch.ones(9)}, CheckpointError,
     f"{QUERY}.*shape"),
    ({}, {readers.BIAS: None}, CheckpointError, readers.BIAS),
    ({}, {readers.BIAS: torch.zeros(16, 12)}, CheckpointError, readers.BIAS),
    ({"relative_attention_num_buckets": 0}, {}, CheckpointError, readers.BIAS),
    ({"relative_attention_num_buckets": 30}, {}, ConfigError, "30 buckets"),
    ({"quantization": {"bits": 4, "group": 64}}, {}, CheckpointError, "weight.scale"),
    ({"quantization": {"bits": 4, "group": 64, "layers": "binary"}}, {}, ConfigError, "binary"),
    ({"quantization": [4]}, {}, ConfigError, "config.json"),
])  # fmt: skip
def test_a_damaged_one_of_three_values_says_what_is_wrong(
    ternary: Path, tmp_path: Path, settings: dict[str, object], tensors: dict[str, torch.Tensor | None],
    error: type[ModelError], words: str,
) -> None:  # fmt: skip
    stored = load_file(ternary / "model.safetensors") | tensors
    save_file({name: one for name, one in stored.items() if one is not None}, tmp_path / "model.safetensors")
    config = json.loads((ternary / "config.json").read_text("utf-8")) | settings
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    (tmp_path / "tokenizer.json").write_bytes((ternary / "tokenizer.json").read_bytes())
    with pytest.raises(error, match=words) as raised:
        Reader.load(tmp_path, torch.float32, CPU)
    assert str(raised.value).count("\n") == 0


def test_layers_that_are_said_to_have_three_values_must(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["quantization"]["layers"] = "ternary"
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(CheckpointError, match=r"query\.weight\.scale|dense\.weight\.scale"):
        Reader.load(tmp_path, torch.float32, CPU)


def test_half_a_character_is_one_that_says_nothing(reader: Reader) -> None:
    passage = PASSAGE.replace(".", "\ud800")
    found = reader.read("Who built \udfff the mill?", passage)
    words = "".join(passage[a:b] for a, b in found.offsets)
    assert words == passage.replace(" ", "").replace("\ud800", "")


def test_the_shipped_one_tells_apart_what_has_names_alike() -> None:
    shipped = Reader.load(MINI / FOLDER, torch.float32, CPU)
    keys = ["hupmirlom", "hupmirfen", "hupgralom", "mirlomhup", "mirhuplom", "lomhupmir", "lommirhup", "fenmirlom"]
    values = {key: str(870_392 + 1_117 * n) for n, key in enumerate(keys)}
    for lines in ("{}: {}", "The value of {} is {}."):
        passage = "\n".join(lines.format(key, value) for key, value in values.items())
        for key, value in values.items():
            found = shipped.read(f"What is the value of {key}?", passage)
            first, last = found.values.argmax(0).tolist()
            assert passage[found.offsets[first][0] : found.offsets[last][1]] == value
