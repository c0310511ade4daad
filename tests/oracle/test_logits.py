"""Our logits are transformers' logits: over one reading, token by token, and continued from a saved state."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import KimiLinearForCausalLM
from transformers.models.kimi_linear import modeling_kimi_linear
from transformers.models.kimi_linear.modeling_kimi_linear import recurrent_kimi_delta_attention

from model import engine, mla, state, weights
from model.config import KimiConfig
from model.engine import Engine
from model.sampling import Sampling
from model.state import ModelState
from model.transformer import Transformer
from tests.oracle.cases import CASES, Case

CLOSE = 1e-4
"""The largest difference allowed, relative to the oracle's logits (both as norms)."""


@dataclass(frozen=True)
class Pair:
    """Our model beside the oracle's logits [T, vocabulary] for `ids` [T], as it comes and with KDA step by step.

    The oracle's chunked KDA subtracts running sums of gates, which costs it digits after a large gate; its own
    step-by-step form has them. So every token is held to the second, and the whole to the first.
    """

    config: KimiConfig
    model: Transformer
    ids: Tensor
    logits: Tensor
    stepped: Tensor

    def empty(self) -> ModelState:
        """A state that has read nothing."""
        return ModelState.empty(self.config, torch.float32, torch.device("cpu"))

    def read(self, sizes: Sequence[int], between: Callable[[ModelState], ModelState] = lambda x: x) -> Tensor:
        """Logits of all tokens, read in pieces of `sizes`, the state passed through `between` after each."""
        state, out = self.empty(), []
        for piece in self.ids.split(list(sizes)):
            out.append(self.model.logits(self.model(piece, state)))
            state = between(state)
        assert state.tokens == len(self.ids)
        return torch.cat(out)

    def check(self, logits: Tensor) -> None:
        """The logits are close to the oracle's."""
        assert torch.isfinite(self.logits).all()
        assert (logits - self.logits).norm() < CLOSE * self.logits.norm()
        assert ((logits - self.stepped).norm(dim=-1) < CLOSE * self.stepped.norm(dim=-1)).all()


@contextmanager
def stepping() -> Iterator[None]:
    """The oracle takes its step-by-step KDA for any number of tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_kimi_linear, "chunk_kimi_delta_attention", recurrent_kimi_delta_attention)
        yield


def oracle_logits(oracle: KimiLinearForCausalLM, ids: Tensor) -> tuple[Tensor, Tensor]:
    """What the oracle says to ids [T]: (as it comes, with KDA step by step), each [T, vocabulary]."""
    with torch.no_grad():
        chunked = oracle(ids[None], use_cache=False).logits[0]
        with stepping():
            return chunked, oracle(ids[None], use_cache=False).logits[0]


@pytest.fixture(scope="module", params=CASES, ids=[case.name for case in CASES])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """One case, its weights taken through the folder that transformers saves."""
    case: Case = request.param
    folder = tmp_path_factory.mktemp("oracle")
    oracle, ids = case.checkpoint(folder), case.ids()
    config = KimiConfig.from_folder(folder)
    model = weights.load(folder, config, torch.float32, torch.device("cpu"))
    return Pair(config, model, ids, *oracle_logits(oracle, ids))


def test_one_reading(pair: Pair) -> None:
    pair.check(pair.read([len(pair.ids)]))


def test_token_by_token(pair: Pair) -> None:
    pair.check(pair.read([1] * len(pair.ids)))


def test_prefill_then_decode(pair: Pair) -> None:
    pair.check(pair.read([len(pair.ids) - 9] + [1] * 9))


def test_continued_from_a_saved_state(pair: Pair) -> None:
    def through_tensors(state: ModelState) -> ModelState:
        saved = {name: tensor.clone() for name, tensor in state.to_tensors().items()}
        return ModelState.from_tensors(pair.config, state.tokens, saved, pair.empty())

    total = len(pair.ids)
    pair.check(pair.read([1, 2, total // 2, 5, total - total // 2 - 8], through_tensors))


@pytest.mark.parametrize("absorb_below", [0, 1_000_000], ids=["expanded", "absorbed"])
def test_over_several_pages(pair: Pair, absorb_below: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PAGE", 13)
    monkeypatch.setattr(mla, "ABSORB_BELOW", absorb_below)
    total = len(pair.ids)
    pair.check(pair.read([29, 3, 1, total - 33], lambda x: x.fork()))


def test_tensors_of_the_state_are_counted_without_building_one(pair: Pair) -> None:
    after = pair.empty()
    pair.model(pair.ids, after)
    assert after.nbytes == state.state_bytes(pair.config, len(pair.ids), torch.float32)


@pytest.fixture(scope="module")
def published(tiny_checkpoint: Path) -> KimiLinearForCausalLM:
    """The published layout, read by transformers."""
    return KimiLinearForCausalLM.from_pretrained(tiny_checkpoint, dtype=torch.float32).eval().requires_grad_(False)


def test_the_published_layout(published: KimiLinearForCausalLM, tiny_engine: Engine) -> None:
    ids = torch.randint(4, 300, (333,), generator=torch.Generator().manual_seed(1))
    pair = Pair(tiny_engine.config, tiny_engine.model, ids, *oracle_logits(published, ids))
    pair.check(pair.read([len(ids)]))
    pair.check(pair.read([150, 1, 1, 181]))


def test_greedy_generation_is_the_oracles(
    published: KimiLinearForCausalLM, tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHUNK", 32)
    monkeypatch.setattr(state, "PAGE", 16)
    endless = Engine(**(vars(tiny_engine) | {"stop_ids": frozenset()}))
    prompt = list(range(10, 110))
    document = endless.read(endless.empty(), prompt[:81])
    ours = list(endless.generate(document, prompt[81:], Sampling(max_tokens=40)))
    ids = prompt + ours
    # The oracle reads our whole reply at once: at each of our tokens it would have said the same.
    theirs = oracle_logits(published, torch.tensor(ids))[1].argmax(-1)
    assert theirs[len(prompt) - 1 : -1].tolist() == ours
