"""The pointer computes what was trained, of the right tokens, for one question and for many at once."""

from collections.abc import Iterator

import pytest
import torch

from model import engine as engine_module
from model import weights
from model.engine import Engine
from model.pointer import NEVER, Block, Pointer
from model.quantize import quantize
from model.state import ModelState
from model.training import pointer as training
from model.training.packing import make_pack
from tests import checkpoints
from tests.checkpoints import CONFIG, POINTER

WIDTH = CONFIG["hidden_size"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A tiny engine with a pointer, in float32."""
    folder = checkpoints.write(tmp_path_factory.mktemp("pointer") / "checkpoint", pointer=POINTER)
    return Engine.load(folder, dtype=torch.float32)


def ids(count: int, seed: int = 0) -> list[int]:
    """Random tokens."""
    return torch.randint(4, 300, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("blocks", [[Block(0, 3, 9, 12)], [Block(2, 4, 5, 9), Block(15, 20, 38, 40)]])
def test_scores_are_those_of_training(engine: Engine, blocks: list[Block]) -> None:
    torch.manual_seed(1)
    theirs = training.Pointer(CONFIG | {"pointer": POINTER}).eval()
    for parameter in theirs.parameters():
        parameter.data.copy_(parameter + 0.3 * torch.randn(parameter.shape))
    ours = Pointer(engine.config)
    ours.load_state_dict(theirs.state_dict())
    looked_at, last = 3 * torch.randn(40, 2 * WIDTH), torch.randn(40, WIDTH)
    asked = torch.tensor([[b.begin, b.first, b.last, -1, -1, b.end - 1] for b in blocks])
    with torch.no_grad():
        expected = theirs(looked_at, last, make_pack([40], asked=asked))
        found = torch.cat([ours(looked_at, last, block) for block in blocks])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    allowed = sum(block.last - block.first + 1 for block in blocks)
    assert (found != NEVER).all(-1).sum() == allowed == (found != NEVER).any(-1).sum()
    assert (found[-1] != NEVER).all()


def test_every_parameter_of_it_matters(engine: Engine) -> None:
    pointer = engine.model.pointer
    assert pointer is not None
    torch.manual_seed(0)
    x, y, block = torch.randn(9, 2 * WIDTH), torch.randn(9, WIDTH), Block(0, 2, 7, 9)
    before = pointer(x, y, block)
    for name, parameter in pointer.named_parameters():
        kept = parameter.data.clone()
        parameter.data.copy_(kept.flip(0) * 1.5 + 0.1)
        after = pointer(x, y, block)
        parameter.data.copy_(kept)
        assert (after - before)[2:7].abs().max() > 1e-3, name


def test_in_bfloat16_it_is_the_same_up_to_rounding(engine: Engine) -> None:
    torch.manual_seed(0)
    x, y, block = torch.randn(30, 2 * WIDTH), torch.randn(30, WIDTH), Block(0, 2, 27, 30)
    assert engine.model.pointer is not None
    small = Pointer(engine.config).to(torch.bfloat16)
    small.load_state_dict(engine.model.pointer.state_dict())
    expected = engine.model.pointer(x, y, block)
    with torch.no_grad():
        found = small(x.bfloat16(), y.bfloat16(), block)
    assert found.dtype == torch.float32
    assert (found - expected)[2:27].norm() < 0.05 * expected[2:27].norm()


def by_hand(engine: Engine, state: ModelState, question: list[int], block: Block) -> torch.Tensor:
    """The pointer's scores from hidden states that are read one token at a time."""
    assert engine.model.pointer is not None
    after = state.fork()
    seen = [engine.model.look(torch.tensor([id]), after) for id in question]
    looked_at, last = (torch.cat(parts) for parts in zip(*seen, strict=True))
    return engine.model.pointer(looked_at, last, block)


@pytest.mark.parametrize("chunk", [None, 32])
def test_one_pass_gives_logits_and_scores(engine: Engine, monkeypatch: pytest.MonkeyPatch, chunk: int | None) -> None:
    if chunk:
        monkeypatch.setattr(engine_module, "CHUNK", chunk)
    document, question = engine.read(engine.empty(), ids(50)), ids(70, seed=1)
    for block in (Block(5, 9, 55, 66), Block(0, 9, 55, 66)):
        after, logits, scores = engine.point_at(document, question, [66, 70], block)
        torch.testing.assert_close(scores, by_hand(engine, document, question, block), rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(logits, engine.logits_at(document, question, [66, 70])[1], rtol=1e-4, atol=1e-4)
        assert after.tokens == 120
    assert engine.point_at(document, question, [70], None)[2] is None


def test_what_the_pointer_sees_is_the_stream_behind_its_layer(engine: Engine) -> None:
    state = engine.empty()
    looked_at, _ = engine.model.look(torch.tensor(ids(20)), state)
    x = torch.nn.functional.embedding(torch.tensor(ids(20)), engine.model.embedding)
    before = engine.empty()
    embedded = x
    for layer, own in list(zip(engine.model.layers, before.layers, strict=True))[: POINTER["look_at"][1]]:
        x = layer(x, own)
    torch.testing.assert_close(looked_at, torch.cat((embedded, x), -1))
    some, _ = engine.model.look(torch.tensor(ids(20)), engine.empty(), 13)
    torch.testing.assert_close(some, looked_at[13:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("look_at", [[1], [0, 4], [2, 5]])
def test_many_questions_are_pointed_to_as_each_alone(
    look_at: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = checkpoints.write(tmp_path_factory.mktemp("look") / "checkpoint", pointer=POINTER | {"look_at": look_at})
    engine = Engine.load(folder, dtype=torch.float32)
    shared = engine.read(engine.empty(), ids(30))
    asked = [ids(n, seed=n) for n in (20, 12, 31)]
    blocks = [Block(0, 3, 12, 18), None, Block(4, 6, 25, 30)]
    places = [[18, 20], [12], [30, 31]]
    steps = engine.point_many(shared, [shared] * 3, asked, lambda: False, places, blocks)
    found = result(steps)
    assert len(found) == 3
    for (state, logits, scores), question, at, block in zip(found, asked, places, blocks, strict=True):
        after, expected, alone = engine.point_at(shared, question, at, block)
        assert state.tokens == after.tokens
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
        assert (scores is None) == (block is None)
        if scores is not None:
            torch.testing.assert_close(scores, alone, rtol=2e-3, atol=2e-3)


def result(steps: Iterator[object]) -> list[tuple[ModelState, torch.Tensor, torch.Tensor | None]]:
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_model_without_one_scores_nothing(tiny_engine: Engine) -> None:
    assert tiny_engine.model.pointer is None
    assert tiny_engine.point_at(tiny_engine.empty(), ids(9), [9], Block(0, 2, 5, 9))[2] is None


def test_weights_arrive_plain_and_in_groups(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> None:
    config = CONFIG | {"pointer": POINTER}
    tensors, places = checkpoints.weights(config), weights.destinations(engine.model)
    names = {name for name in tensors if "pointer" in name}
    assert len(names) == 4 + 2 * 12
    assert all(torch.equal(places[name], tensors[name].float()) for name in names)  # type: ignore[arg-type]
    folder = tmp_path_factory.mktemp("groups")
    name = "model.pointer.layers.1.qkv.weight"
    grid = quantize(tensors.pop(name), 4, 8)
    stored = {f"{name}.{part}": getattr(grid, part) for part in ("q", "scale", "zero")}
    checkpoints.write(folder, pointer=POINTER, quantization={"bits": 4, "group": 8})
    checkpoints.write_shards(folder, tensors | stored, 2)
    found = Engine.load(folder, dtype=torch.float32)
    assert torch.equal(weights.destinations(found.model)[name], grid.values().float())  # type: ignore[arg-type]
    assert found.fingerprint != engine.fingerprint
    assert weights.inspect(folder, found.config) == len(checkpoints.shapes(config))
